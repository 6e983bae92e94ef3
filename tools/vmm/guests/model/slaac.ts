/**
 * ModelSlaac: the model guest takes an IPv6 address of what its router advertises (RFC 4862): the kernel makes it, and
 * this program asks for that and waits until the address is its own.
 *
 * Path: boot/guest → model/slaac → proc, time.
 *
 * @module
 */

import { KernelError } from "../../../../kernel/error.ts";
import type { Proc } from "../../../../kernel/proc.ts";
import type { Clock } from "../../../../kernel/time.ts";

/** Three solicitations, 4 s apart (RFC 4861 10), and a second for the address itself (RFC 4862 5.4). */
export const SLAAC_LIMIT_MS = 14_000;
const POLL_MS = 20;

/** What the client needs to know. */
interface SlaacOptions {
  readonly proc: Proc;
  readonly clock: Clock;
  /** Its interface's directory. Default `/net/ipifc/1`. */
  readonly ifc?: string;
  /** Gives up when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Listens to routers; the address. Throws KernelError ETIMEDOUT if no router advertises a network. */
export async function modelSlaac({ proc, clock, ifc = "/net/ipifc/1", signal }: SlaacOptions): Promise<string> {
  await proc.writeText(`${ifc}/ctl`, "recvra6 on");
  for (const endMs = clock.now() + SLAAC_LIMIT_MS; clock.now() < endMs;) {
    signal?.throwIfAborted();
    const address = addressIn(await proc.readText(`${ifc}/local`));
    if (address !== null) return address;
    await new Promise<void>((resolve) => clock.timer(resolve).arm(POLL_MS));
  }
  throw new KernelError("ETIMEDOUT", "Cannot get an IPv6 address: no router advertises a network");
}

/**
 * The first IPv6 address of the `local` file that is not link-local, and is not tentative: that is one which the
 * interface does not answer for yet, so its line does not repeat it.
 */
function addressIn(text: string): string | null {
  for (const line of text.split("\n")) {
    const [local = "", , ...claims] = line.split(" ");
    if (local.includes(":") && !local.startsWith("fe80:") && claims.includes(local)) return local;
  }
  return null;
}
