package bench;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.table.api.TableResult;

/** Stream peer that uses Flink SQL: the statements of order_final.sql, in this process. Arguments: --name value. */
public final class OrderJoin {
    private static Configuration settings(Map<String, String> given) {
        Path state = Path.of(given.get("state")).toAbsolutePath();
        Map<String, String> settings = new HashMap<>();
        settings.put("parallelism.default", given.get("threads"));
        settings.put("execution.checkpointing.interval", given.get("commit-ms") + " ms");
        settings.put("execution.checkpointing.dir", state.resolve("checkpoints").toUri().toString());
        settings.put("execution.checkpointing.incremental", "true");
        settings.put("state.backend.type", "rocksdb");
        settings.put("state.backend.rocksdb.localdir", state.resolve("rocksdb").toString());
        settings.put("taskmanager.memory.managed.size", "256m");
        settings.put("execution.buffer-timeout.interval", "10 ms");
        settings.put("pipeline.object-reuse", "true");
        // Without it, each product line is read from and written to RocksDB on its own. A checkpoint ends a mini-batch.
        settings.put("table.exec.mini-batch.enabled", "true");
        settings.put("table.exec.mini-batch.allow-latency", "100 ms");
        settings.put("table.exec.mini-batch.size", "5000");
        // A job that Flink starts again would hide its error from the benchmark.
        settings.put("restart-strategy.type", "none");
        return Configuration.fromMap(settings);
    }

    private static String sql(Map<String, String> given) throws IOException {
        try (InputStream file = OrderJoin.class.getResourceAsStream("/order_final.sql")) {
            String text = new String(file.readAllBytes(), StandardCharsets.UTF_8);
            for (Map.Entry<String, String> argument : given.entrySet()) {
                text = text.replace("{" + argument.getKey() + "}", argument.getValue());
            }
            return text;
        }
    }

    public static void main(String[] arguments) throws IOException, InterruptedException, ExecutionException {
        Map<String, String> given = new HashMap<>();
        for (int at = 0; at + 1 < arguments.length; at += 2) {
            given.put(arguments[at].substring(2), arguments[at + 1]);
        }
        given.computeIfPresent("mode", (name, mode) -> mode.replace('_', '-'));
        TableEnvironment tables = TableEnvironment.create(
                EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings(given)).build());
        TableResult job = null;
        for (String statement : sql(given).strip().split("(?m);$")) {
            job = tables.executeSql(statement);
        }
        job.await();
    }
}
