package bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerInterceptor;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** Writes the time at which a consumer of this process first got records to a file, which the benchmark reads. */
public final class FirstRead implements ConsumerInterceptor<byte[], byte[]> {
    private static final AtomicBoolean MARKED = new AtomicBoolean();
    private Path mark;

    @Override
    public void configure(Map<String, ?> settings) {
        mark = Path.of((String) settings.get("bench.mark"));
    }

    @Override
    public ConsumerRecords<byte[], byte[]> onConsume(ConsumerRecords<byte[], byte[]> records) {
        if (!records.isEmpty() && MARKED.compareAndSet(false, true)) {
            try {
                Files.writeString(mark, Double.toString(System.currentTimeMillis() / 1000.0));
            } catch (IOException error) {
                throw new IllegalStateException(error);
            }
        }
        return records;
    }

    @Override
    public void onCommit(Map<TopicPartition, OffsetAndMetadata> offsets) {}

    @Override
    public void close() {}
}
