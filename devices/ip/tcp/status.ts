/**
 * The `status` line of a connection: Akaros' words first, then what Akaros does not show.
 *
 * Path: dev_ip (status) → tcp → status.
 *
 * @module
 */

import { STATE_NAMES } from "./state.ts";
import type { Tcb } from "./tcb.ts";
import { TimerSlot } from "./timer.ts";

const RECOVERY_WORDS = ["open", "recovery", "loss"] as const;

/** One line, newline included. */
export function tcpStatus(tcb: Tcb): string {
  const { snd, rcv, rtt, timers, conv, config, congestion, board } = tcb;
  const nowMs = tcb.env.clock.now();
  const keepalive = timers.deadlineMs(TimerSlot.Keepalive);
  const values: readonly (readonly [string, string | number])[] = [
    ["qin", conv.rq.length],
    ["qout", conv.wq?.length ?? 0],
    ["srtt", Math.round(rtt.srttMs)],
    ["mdev", Math.round(rtt.rttvarMs)],
    ["cwin", Math.floor(congestion.cwnd)],
    ["swin", `${snd.wnd >>> snd.shift}>>${snd.shift}`],
    ["rwin", `${tcb.rcvWnd >>> rcv.shift}>>${rcv.shift}`],
    ["timer.start", Math.round(rtt.timeoutMs(tcb.backoff))],
    ["timer.count", left(timers.deadlineMs(TimerSlot.Xmit), nowMs)],
    ["rerecv", tcb.rerecv],
    ["katimer.start", config.keepaliveMs],
    ["katimer.count", left(keepalive, nowMs)],
    ["mss", snd.mss],
    ["ssthresh", congestion.ssthresh],
    ["congestion", congestion.algorithm.name],
    ["recovery", RECOVERY_WORDS[tcb.recovery]],
    ["flight", tcb.flight],
    ["sacked", board.sackedBytes],
    ["lost", board.lostBytes],
    ["early", tcb.resequence.length],
    ["options", optionWords(tcb)],
  ];
  return `${STATE_NAMES[tcb.state]} ${values.map(([name, value]) => `${name} ${value}`).join(" ")}\n`;
}

function left(deadlineMs: number, nowMs: number): number {
  return deadlineMs === Infinity ? 0 : Math.max(0, Math.round(deadlineMs - nowMs));
}

function optionWords(tcb: Tcb): string {
  const words = [
    tcb.sackOk ? "sack" : "",
    tcb.timestampsOk ? "timestamps" : "",
    tcb.rcv.shift > 0 ? "scale" : "",
    tcb.ecnOk ? "ecn" : "",
    tcb.config.nodelay ? "nodelay" : "",
  ].filter((word) => word !== "");
  return words.length === 0 ? "none" : words.join(",");
}
