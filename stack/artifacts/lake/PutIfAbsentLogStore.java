package millrace.lake;

import io.delta.storage.HadoopFileSystemLogStore;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.util.Arrays;
import java.util.Iterator;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Delta's log on object storage, safe for any number of writers.
 *
 * <p>A Delta commit is one file, `_delta_log/{version}.json`, and the writer that creates it has won that version. The log
 * store that Delta uses on S3A by default asks whether the file is there and then writes it: two processes can both be told
 * that it is not, and the second silently replaces the commit of the first. Here the storage itself decides: the file is
 * put with `If-None-Match: *`, and exactly one of the writers succeeds.
 *
 * <p>A put may reach the storage while its answer gets lost; S3A then repeats it and is told (412) that the file exists.
 * So the file is read back. The same bytes are our own commit: every commit holds an id of its own (`txnId`), so no
 * other writer's can be equal. Any other content is a conflict, which Delta solves by checking what the other wrote and
 * trying the next version.
 */
public class PutIfAbsentLogStore extends HadoopFileSystemLogStore {
  private static final String CONDITIONAL_CREATE = "fs.option.create.conditional.overwrite";

  public PutIfAbsentLogStore(Configuration configuration) {
    super(configuration);
  }

  @Override
  public void write(Path path, Iterator<String> actions, Boolean overwrite, Configuration configuration)
      throws IOException {
    FileSystem files = path.getFileSystem(configuration);
    byte[] content = join(actions);
    if (overwrite) {
      try (FSDataOutputStream out = files.create(path, true)) {
        out.write(content);
      }
      return;
    }
    try {
      putIfAbsent(files, path, content);
    } catch (InterruptedIOException error) {
      throw error;
    } catch (IOException error) {
      settle(files, path, content, error);
    }
  }

  /** A put is atomic: readers see the whole file or none. */
  @Override
  public Boolean isPartialWriteVisible(Path path, Configuration configuration) {
    return false;
  }

  private static void putIfAbsent(FileSystem files, Path path, byte[] content) throws IOException {
    FSDataOutputStreamBuilder<?, ?> create = files.createFile(path).recursive();
    create.overwrite(false);
    create.must(CONDITIONAL_CREATE, "true"); // a file system that cannot do this must refuse, not ignore it
    try (FSDataOutputStream out = (FSDataOutputStream) create.build()) {
      out.write(content); // reaches the storage in one request, when the stream is closed
    }
  }

  /** After a failed put: what the storage holds says whether it was ours, another's, or none. */
  private static void settle(FileSystem files, Path path, byte[] content, IOException error) throws IOException {
    byte[] found;
    try (FSDataInputStream in = files.open(path)) {
      found = in.readAllBytes();
    } catch (IOException absent) {
      error.addSuppressed(absent);
      throw error;
    }
    if (!Arrays.equals(found, content)) {
      FileAlreadyExistsException conflict = new FileAlreadyExistsException(path.toString());
      conflict.initCause(error);
      throw conflict;
    }
  }

  private static byte[] join(Iterator<String> actions) {
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    while (actions.hasNext()) {
      content.writeBytes((actions.next() + "\n").getBytes(StandardCharsets.UTF_8));
    }
    return content.toByteArray();
  }
}
