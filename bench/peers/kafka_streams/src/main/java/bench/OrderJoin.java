package bench;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * Stream peer that uses Kafka Streams: one processor over both topics and one RocksDB store with a changelog. It emits
 * one record per order as soon as all product lines have arrived. Arguments: pairs of --name value.
 */
public final class OrderJoin {
    private static final String STORE = "order-state";

    @JsonIgnoreProperties(ignoreUnknown = true)
    static final class Envelope {
        public Row after;
    }

    /** A row of either table: only an order has num_products, and only a product line has product_id. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    static final class Row {
        public Integer num_products;
        public int customer_id;
        public int store_id;
        public int payment_method_id;
        public Integer product_id;
        public int quantity;
    }

    /** An order's state: emitted flag, product count (-1: no order row yet), customer, store, payment, lines. */
    static final class Order {
        private static final int HEADER_BYTES = 17;
        private static final int LINE_BYTES = 8;
        private static final int NO_ROW = -1;
        private final byte[] bytes;
        private final ByteBuffer view;

        private Order(byte[] bytes) {
            this.bytes = bytes;
            this.view = ByteBuffer.wrap(bytes);
        }

        static Order of(byte[] stored) {
            return stored == null
                    ? new Order(ByteBuffer.allocate(HEADER_BYTES).putInt(1, NO_ROW).array())
                    : new Order(stored.clone());
        }

        Order with(Row row) {
            if (row.num_products != null) {
                view.putInt(1, row.num_products).putInt(5, row.customer_id).putInt(9, row.store_id)
                        .putInt(13, row.payment_method_id);
                return this;
            }
            for (int at = HEADER_BYTES; at < bytes.length; at += LINE_BYTES) {
                if (view.getInt(at) == row.product_id) {
                    view.putInt(at + 4, row.quantity);
                    return this;
                }
            }
            return new Order(ByteBuffer.allocate(bytes.length + LINE_BYTES).put(bytes).putInt(row.product_id)
                    .putInt(row.quantity).array());
        }

        int lines() {
            return (bytes.length - HEADER_BYTES) / LINE_BYTES;
        }

        boolean isDue() {
            int expected = view.getInt(1);
            return view.get(0) == 0 && expected != NO_ROW && lines() >= expected;
        }

        void emitted() {
            view.put(0, (byte) 1);
        }

        byte[] json(String id) {
            StringBuilder text = new StringBuilder(160 + 40 * lines());
            text.append("{\"order_id\":\"").append(id).append("\",\"customer_id\":").append(view.getInt(5))
                    .append(",\"store_id\":").append(view.getInt(9)).append(",\"payment_method_id\":")
                    .append(view.getInt(13)).append(",\"num_products\":").append(view.getInt(1))
                    .append(",\"products\":[");
            for (int at = HEADER_BYTES; at < bytes.length; at += LINE_BYTES) {
                text.append(at == HEADER_BYTES ? "" : ",").append("{\"product_id\":").append(view.getInt(at))
                        .append(",\"quantity\":").append(view.getInt(at + 4)).append('}');
            }
            return text.append("]}").toString().getBytes(StandardCharsets.UTF_8);
        }
    }

    static final class Join implements Processor<String, byte[], String, byte[]> {
        private static final AtomicBoolean MARKED = new AtomicBoolean();
        private final ObjectReader reader = new ObjectMapper().readerFor(Envelope.class);
        private final Path mark;
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, byte[]> store;

        Join(Path mark) {
            this.mark = mark;
        }

        @Override
        public void init(ProcessorContext<String, byte[]> context) {
            this.context = context;
            this.store = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<String, byte[]> change) {
            markFirst();
            Row row = change.value() == null ? null : rowOf(change.value());
            if (row == null) {
                return;
            }
            Order order = Order.of(store.get(change.key())).with(row);
            boolean due = order.isDue();
            if (due) {
                order.emitted();
            }
            store.put(change.key(), order.bytes);
            if (due) {
                context.forward(change.withValue(order.json(change.key())));
            }
        }

        private Row rowOf(byte[] value) {
            try {
                return reader.<Envelope>readValue(value).after;
            } catch (IOException error) {
                throw new IllegalArgumentException(error);
            }
        }

        /** Writes the time of the first processed event to a file, from which the benchmark reads it. */
        private void markFirst() {
            if (MARKED.get() || !MARKED.compareAndSet(false, true)) {
                return;
            }
            try {
                Files.writeString(mark, Double.toString(System.currentTimeMillis() / 1000.0));
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    private static Properties settings(Map<String, String> given) {
        boolean exactlyOnce = given.get("mode").equals("exactly_once");
        Properties p = new Properties();
        p.put(StreamsConfig.APPLICATION_ID_CONFIG, given.get("group"));
        p.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, given.get("bootstrap"));
        p.put(StreamsConfig.STATE_DIR_CONFIG, given.get("state"));
        p.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, given.get("threads"));
        p.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG,
                exactlyOnce ? StreamsConfig.EXACTLY_ONCE_V2 : StreamsConfig.AT_LEAST_ONCE);
        boolean forLatency = !given.getOrDefault("commit-ms", "0").equals("0");
        p.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG,
                forLatency ? given.get("commit-ms") : exactlyOnce ? "100" : "1000");
        p.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
        p.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
        p.put(StreamsConfig.consumerPrefix(ConsumerConfig.MAX_POLL_RECORDS_CONFIG), 5000);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.LINGER_MS_CONFIG), forLatency ? 0 : 20);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), 256 << 10);
        p.put(StreamsConfig.producerPrefix(ProducerConfig.COMPRESSION_TYPE_CONFIG), "lz4");
        return p;
    }

    public static void main(String[] arguments) throws InterruptedException {
        Map<String, String> given = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            given.put(arguments[at].substring(2), arguments[at + 1]);
        }
        Path mark = Path.of(given.get("mark"));
        StreamsBuilder builder = new StreamsBuilder();
        builder.addStateStore(Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(STORE), Serdes.String(), Serdes.ByteArray()).withCachingEnabled());
        // One stream over both topics: the same task processes partition n of both topics, so they share one store.
        builder.stream(List.of(given.get("orders"), given.get("details")),
                        Consumed.with(Serdes.String(), Serdes.ByteArray()))
                .process(() -> new Join(mark), STORE)
                .to(given.get("output"), Produced.with(Serdes.String(), Serdes.ByteArray()));

        KafkaStreams streams = new KafkaStreams(builder.build(), settings(given));
        CountDownLatch stopped = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            stopped.countDown();
        }));
        streams.start();
        stopped.await();
    }
}
