/**
 * A program that sends one datagram from each of 65,000 UDP ports to ADDR!9, of IPv4 or IPv6, at a rate that netd's
 * interface can hold:
 *
 *     deno run --allow-ffi tests/kit/netd/ports.ts ADDR
 *
 * @module
 */

import { holdLibc, HostError } from "../../../devices/host/libc.ts";
import { LinuxSocket } from "../../../devices/host/linux_socket.ts";

const PORTS = 65_000;
const FIRST = 500;
/** Less than Linux keeps for a TAP device's reader (500 packets). */
const BURST = 400;
const PAUSE_MS = 7;

if (import.meta.main) {
  holdLibc();
  let failures = 0;
  const bytes = new Uint8Array(1);
  const addr = Deno.args[0]!;
  const version = addr.includes(":") ? 6 : 4;
  const any = version === 6 ? "::" : "0.0.0.0";
  for (let port = FIRST; port < FIRST + PORTS; port++) {
    const socket = new LinuxSocket("udp", null, version);
    try {
      socket.bind(any, port);
      socket.sendTo(bytes, addr, 9);
    } catch (error) {
      // The port is in use; or Linux reports that an earlier datagram was refused.
      if (!(error instanceof HostError)) throw error;
      failures++;
    }
    socket.close();
    if (port % BURST === 0) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  console.log(`${PORTS - failures} sent`);
}
