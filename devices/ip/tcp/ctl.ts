/**
 * The verbs that TCP adds to ctl.
 *
 * Path: tcp/tcp → tcp/ctl → kernel/ctl, ack, congestion, cubic, transitions.
 *
 * @module
 */

import { type CtlVerb, parseNumber, parseSwitch, shown } from "../../../kernel/ctl.ts";
import { KernelError } from "../../../kernel/error.ts";
import type { Conv } from "../conv/conv.ts";
import { SEND_QUEUE_MAX, SEND_QUEUE_START } from "./ack.ts";
import { type Congestion, CongestionState } from "./congestion.ts";
import { cubic } from "./cubic.ts";
import { applyEvent } from "./transitions.ts";
import { newreno } from "./newreno.ts";
import { output } from "./output.ts";
import { isSynchronized, TcpEvent, TcpState } from "./state.ts";
import { type Tcb, tcbOf } from "./tcb.ts";
import { KEEPALIVE_MS, TimerSlot } from "./timer.ts";

/** Congestion controls by name; the first is the default. */
export const CONGESTIONS: readonly Congestion[] = [cubic, newreno];
/** Shortest keepalive and user timeout: shorter ones end connections that only lost a packet. */
const SECOND_MS = 1000;
/** Longest: a week. */
const WEEK_MS = 7 * 24 * 3600 * 1000;

function setNodelay(tcb: Tcb, on: boolean): void {
  tcb.config.nodelay = on;
  output(tcb);
}

function setKeepalive(tcb: Tcb, word: string | undefined): void {
  if (tcb.state !== TcpState.Established && tcb.state !== TcpState.CloseWait) {
    throw new KernelError("ENOTCONN", `Cannot keep ${tcb.conv} alive: it is not connected`);
  }
  const ms = word === "off" ? 0 : word === undefined ? KEEPALIVE_MS : parseNumber(word, { max: WEEK_MS });
  if (ms > 0 && ms < SECOND_MS) throw tooShort("keepalive", ms);
  tcb.config.keepaliveMs = ms;
  tcb.keepaliveProbes = 0;
  if (ms === 0) tcb.timers.clear(TimerSlot.Keepalive);
  else tcb.timers.set(TimerSlot.Keepalive, ms);
}

function setUserTimeout(tcb: Tcb, word: string): void {
  const ms = parseNumber(word, { max: WEEK_MS });
  if (ms < SECOND_MS) throw tooShort("usertimeout", ms);
  tcb.config.userTimeoutMs = ms;
}

/** A queue that is larger already keeps its size: what is in it was promised to be sent. */
function setSendQueueMax(tcb: Tcb, word: string): void {
  tcb.config.sendQueueMax = parseNumber(word, { min: SEND_QUEUE_START, max: SEND_QUEUE_MAX });
}

function tooShort(verb: string, ms: number): KernelError {
  return new KernelError("EINVAL", `Cannot set ${verb} to ${ms} ms: at least ${SECOND_MS}`);
}

function setCongestion(tcb: Tcb, word: string): void {
  const algorithm = CONGESTIONS.find((one) => one.name === word);
  if (algorithm === undefined) {
    const names = CONGESTIONS.map(({ name }) => name).join(" or ");
    throw new KernelError("EINVAL", `Cannot use ${shown(word)}: want ${names}`);
  }
  tcb.config.algorithm = algorithm;
  const { cwnd, ssthresh, mss } = tcb.congestion;
  const state = new CongestionState(algorithm, mss);
  if (isSynchronized(tcb.state)) {
    state.cwnd = cwnd;
    state.ssthresh = ssthresh;
  }
  tcb.congestion = state;
}

/** What is agreed on in a SYN can be chosen only before it. */
function requireUnopened(tcb: Tcb, verb: string): void {
  if (tcb.state === TcpState.Closed || tcb.state === TcpState.Listen) return;
  throw new KernelError("EISCONN", `Cannot set ${verb} of ${tcb.conv}: it is connected`);
}

function setOffer(tcb: Tcb, name: "ecn" | "sack" | "timestamps" | "windowScale", word: string): void {
  requireUnopened(tcb, name.toLowerCase());
  tcb.config[name] = parseSwitch(word);
}

function hangup(tcb: Tcb): void {
  if (tcb.state === TcpState.Closed || tcb.state === TcpState.Listen) {
    throw new KernelError("ENOTCONN", `Cannot hang up ${tcb.conv}: it is not connected`);
  }
  applyEvent(tcb, TcpEvent.Abort);
}

/** Akaros could switch checksums off; without them it would not be TCP. */
function setChecksum(word: string): void {
  if (parseSwitch(word)) return;
  throw new KernelError("EOPNOTSUPP", "Cannot switch checksums off: RFC 9293 3.1 wants them always");
}

/** The verbs; what has an argument checks it before it changes anything. */
const TCP_VERBS: readonly CtlVerb<Conv>[] = [
  {
    name: "nodelay",
    usage: "nodelay on|off",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setNodelay(tcbOf(conv), parseSwitch(word!)),
  },
  {
    name: "quickack",
    usage: "quickack on|off",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => void (tcbOf(conv).config.quickack = parseSwitch(word!)),
  },
  {
    name: "keepalive",
    usage: "keepalive [ms|off]",
    minArgs: 0,
    maxArgs: 1,
    run: (conv, [word]) => setKeepalive(tcbOf(conv), word),
  },
  {
    name: "usertimeout",
    usage: "usertimeout ms",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setUserTimeout(tcbOf(conv), word!),
  },
  {
    name: "wqlimit",
    usage: "wqlimit bytes",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setSendQueueMax(tcbOf(conv), word!),
  },
  {
    name: "congestion",
    usage: "congestion cubic|newreno",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setCongestion(tcbOf(conv), word!),
  },
  {
    name: "ecn",
    usage: "ecn on|off",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setOffer(tcbOf(conv), "ecn", word!),
  },
  {
    name: "sack",
    usage: "sack on|off",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setOffer(tcbOf(conv), "sack", word!),
  },
  {
    name: "timestamps",
    usage: "timestamps on|off",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setOffer(tcbOf(conv), "timestamps", word!),
  },
  {
    name: "windowscale",
    usage: "windowscale on|off",
    minArgs: 1,
    maxArgs: 1,
    run: (conv, [word]) => setOffer(tcbOf(conv), "windowScale", word!),
  },
  { name: "hangup", usage: "hangup", minArgs: 0, maxArgs: 0, run: (conv) => hangup(tcbOf(conv)) },
  { name: "checksum", usage: "checksum on", minArgs: 1, maxArgs: 1, run: (_, [word]) => setChecksum(word!) },
];

/** Runs the command; false: it is not of TCP. EINVAL: too few arguments, or too many. */
export function runTcpVerb(conv: Conv, words: readonly string[]): boolean {
  const [name, ...args] = words;
  const verb = TCP_VERBS.find((one) => one.name === name);
  if (verb === undefined) return false;
  if (args.length < verb.minArgs || args.length > verb.maxArgs) {
    throw new KernelError("EINVAL", `Cannot run ${shown(verb.name)}: usage: ${verb.usage}`);
  }
  verb.run(conv, args);
  return true;
}
