/**
 * Advice: an ICMP error about a packet of ours reaches the conversation that sent it.
 *
 * Path: icmp (reads the error) → proto.advise → advice → conv.eq (err file), conv.rq (hang-up).
 *
 * The whole ICMP packet becomes a block on the `err` file, whatever the conversation's state. A connected conversation
 * is hung up besides when the error says that its peer cannot be reached, unless it has `ignoreadvice`; what only
 * concerns one packet ("too big", "time exceeded") leaves the conversation open.
 *
 * @module
 */

import { TapEvent } from "../../../kernel/fd_tap.ts";
import type { Conv } from "./conv.ts";
import { type Advice, ConvState } from "./proto.ts";

/** Tells `conv` of the error. */
export function adviseConv(conv: Conv, advice: Advice): void {
  if (conv.eq.pass(advice.block.clone()) === "ok") conv.dataTaps.fire(TapEvent.Error);
  if (conv.state !== ConvState.Connected || conv.ignoreAdvice || !advice.unreachable) return;
  if (conv.raddr.equals(advice.raddr) && conv.laddr.equals(advice.laddr)) conv.rq.hangup(advice.text);
}
