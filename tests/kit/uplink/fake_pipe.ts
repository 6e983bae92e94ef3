/** A buffer of bytes in one direction, as sockets of FakeStreams have two. */

/** Bytes that a socket's buffer takes, each way. */
const BUFFER_BYTES = 65_536;

/** Bytes in order, in one direction. */
export class Pipe {
  bytes: number[] = [];
  isEnded = false;

  get room(): number {
    return BUFFER_BYTES - this.bytes.length;
  }
}
