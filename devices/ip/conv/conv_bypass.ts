/**
 * Starting and ending bypass on a conversation: its queues are exchanged for one of whole packets, for good. The next
 * user of the slot gets new queues, like every other.
 *
 * Path: conv_ctl (`bypass`) → conv_bypass → proto.bypassed; conv_space (the last close) → conv_bypass.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { Bypass } from "./bypass_claim.ts";
import type { Conv } from "./conv.ts";
import { ConvState } from "./proto.ts";

/** Bytes that wait for a bypass reader (Akaros): half a second at 1 Gbit/s. The queue limits the blocks too. */
export const BYPASS_QUEUE_LIMIT = 64 << 20;

/** Exchanges the queues of `conv`, whose ends are claimed; taps stay, and sleepers on the old queues look again. */
export function startBypass(conv: Conv): void {
  const rules = conv.proto.bypass;
  if (rules === undefined) throw new KernelError("EFAIL", `Cannot bypass ${conv.proto.name}: it has no ports`);
  const { rq, wq } = conv;
  conv.bypass = new Bypass(rules, conv.proto.ipProtocols[0] ?? -1);
  conv.rq = conv.makeDataQueue({ limit: BYPASS_QUEUE_LIMIT, message: true });
  conv.wq = null;
  conv.state = ConvState.Bypass;
  try {
    conv.proto.bypassed?.(conv);
  } catch (error) {
    undoBypass(conv);
    conv.proto.create(conv);
    throw error;
  }
  rq.flush();
  rq.readable.wakeup();
  wq?.writable.wakeup();
  conv.wake();
  conv.dataTaps.fire(TapEvent.Writable);
}

/** Ends the bypass of `conv`, whose queue has no reader any more; nothing if it is not bypassed. */
export function undoBypass(conv: Conv): void {
  if (conv.bypass === null) return;
  conv.bypass = null;
  conv.state = ConvState.Idle;
  conv.rq.close();
}
