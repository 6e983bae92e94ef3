/**
 * The options of a DHCPv6 message as a client reads them (RFC 8415 21.1).
 *
 * @module
 */

import { assert } from "@std/assert";

/** The data of each option by its code, of a whole message; fails if an option is cut off, or stands there twice. */
export function dhcp6Options(message: Uint8Array): Map<number, Uint8Array> {
  const view = new DataView(message.buffer, message.byteOffset, message.length);
  const options = new Map<number, Uint8Array>();
  // Before the options: the type of the message and the transaction, four bytes.
  for (let at = 4; at < message.length;) {
    const code = view.getUint16(at);
    const end = at + 4 + view.getUint16(at + 2);
    assert(end <= message.length, `Option ${code} ends ${end - message.length} bytes behind the message`);
    assert(!options.has(code), `Option ${code} stands there twice`);
    options.set(code, message.slice(at + 4, end));
    at = end;
  }
  return options;
}
