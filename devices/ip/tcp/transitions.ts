/**
 * The transitions of a connection: applies an event and does the action of the state table.
 *
 * Path: tcp, input, handshake, ack, timeouts → transitions → state (the table), segment_out, conv.
 *
 * @module
 */

import { assert } from "../../../kernel/assert.ts";
import { type ErrnoName, KernelError } from "../../../kernel/error.ts";
import { TapEvent } from "../../../kernel/fd_tap.ts";
import { ConvState } from "../conv/proto.ts";
import { sendAbort, sendSyn } from "./segment_out.ts";
import { ILLEGAL, STATE_NAMES, TcpAction, TcpEvent, TcpState, transition } from "./state.ts";
import type { Tcb } from "./tcb.ts";
import { CONNECT_TIMEOUT_MS, FIN_WAIT_2_MS, TIME_WAIT_MS, TimerSlot, XmitTimer } from "./timer.ts";

/** Applies an event to the connection: the next state, and its action. */
export function applyEvent(tcb: Tcb, event: TcpEvent): void {
  const cell = transition(tcb.state, event);
  assert(cell !== ILLEGAL, `a connection in ${STATE_NAMES[tcb.state]} gets no event ${event}`);
  const from = tcb.state;
  // A reset is sent with what the old state knew.
  if (cell.action === TcpAction.SendRst) sendAbort(tcb);
  tcb.state = cell.to;
  act(tcb, cell.action, from);
}

function act(tcb: Tcb, action: TcpAction, from: TcpState): void {
  switch (action) {
    case TcpAction.None:
      return;
    case TcpAction.SendSyn:
    case TcpAction.SendSynAck:
      return startHandshake(tcb, action === TcpAction.SendSyn);
    case TcpAction.Connected:
      return connected(tcb);
    case TcpAction.QueueFin:
      tcb.finWanted = true;
      return;
    case TcpAction.CloseLater:
      tcb.closeLater = true;
      return;
    case TcpAction.PeerClosed:
      return peerClosed(tcb);
    case TcpAction.WaitForFin:
      // A program that has it open may wait as long as it likes (RFC 9293 3.6: half-close).
      if (tcb.detached) tcb.timers.set(TimerSlot.Linger, FIN_WAIT_2_MS);
      return;
    case TcpAction.StartTimeWait:
      return startTimeWait(tcb, from);
    case TcpAction.SendRst:
      return finish(tcb, "ECONNRESET", "Connection aborted");
    case TcpAction.Refused:
      return finish(tcb, "ECONNREFUSED", "Connection refused");
    case TcpAction.Reset:
      tcb.env.stats.estabResets++;
      return finish(tcb, "ECONNRESET", "Connection reset by peer");
    case TcpAction.TimedOut:
      return finish(tcb, "ETIMEDOUT", tcb.softError === "" ? "Connection timed out" : tcb.softError);
    case TcpAction.Forget:
      return finish(tcb);
    case TcpAction.Abandoned:
      return finish(tcb, "ECONNABORTED", "Connection aborted");
  }
}

function startHandshake(tcb: Tcb, isFirst: boolean): void {
  const { env, snd } = tcb;
  const nowMs = env.clock.now();
  if (isFirst) tcb.stallMs = nowMs;
  tcb.timers.setXmit(XmitTimer.Retransmit, Math.min(tcb.rtt.timeoutMs(tcb.backoff), CONNECT_TIMEOUT_MS));
  snd.lastMs = nowMs;
  const result = sendSyn(tcb);
  if (isFirst && result === "noRoute") {
    // As if nothing had been tried: the caller undoes the rest.
    tcb.state = TcpState.Closed;
    tcb.timers.clearAll();
    throw new KernelError("EHOSTUNREACH", `Cannot connect to ${tcb.conv.raddr}: no route`);
  }
}

function connected(tcb: Tcb): void {
  tcb.backoff = 0;
  tcb.stallMs = -1;
  tcb.timers.clear(TimerSlot.Xmit);
  tcb.rtoAtMs = Infinity;
  if (tcb.config.keepaliveMs > 0) tcb.timers.set(TimerSlot.Keepalive, tcb.config.keepaliveMs);
  if (tcb.conv.state === ConvState.Connecting || tcb.conv.inUse > 0) tcb.conv.connected();
  if (tcb.closeLater) applyEvent(tcb, TcpEvent.Close);
}

/** The reader finds the end behind what is queued. */
function peerClosed(tcb: Tcb): void {
  tcb.ackNow = true;
  tcb.rq.hangup();
  tcb.conv.dataTaps.fire(TapEvent.RdHup);
}

function startTimeWait(tcb: Tcb, from: TcpState): void {
  if (from === TcpState.FinWait2) peerClosed(tcb);
  tcb.ackNow = true;
  tcb.env.orphans.delete(tcb);
  tcb.timers.clear(TimerSlot.Xmit);
  tcb.timers.clear(TimerSlot.Keepalive);
  tcb.timers.set(TimerSlot.Linger, TIME_WAIT_MS);
}

/**
 * Ends the connection, with an error or without: its queues get the reason, and a slot that is not open is released.
 */
export function finish(tcb: Tcb, code?: ErrnoName, text = ""): void {
  const { conv, env } = tcb;
  tcb.state = TcpState.Closed;
  env.orphans.delete(tcb);
  tcb.timers.clearAll();
  tcb.board.clear(tcb.snd.nxt);
  tcb.resequence.clear();
  tcb.finWanted = tcb.ackNow = false;
  tcb.rtoAtMs = Infinity;
  if (code === undefined) {
    tcb.wq.hangup("Connection closed");
    tcb.rq.hangup();
  } else {
    tcb.wq.fail(code, text);
    tcb.rq.fail(code, text);
  }
  tcb.wq.flush();
  if (env.memory.waiting.size > 0) env.memory.wake();
  if (conv.inUse === 0) return conv.space.release(conv);
  if (code !== undefined && conv.state === ConvState.Connecting) {
    return conv.failed(new KernelError(code, `Cannot connect to ${conv.raddr}!${conv.rport}: ${lower(text)}`));
  }
  // It gets no more packets; a program that has it open can still read its ends.
  conv.space.unclaim(conv);
  conv.wake();
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}
