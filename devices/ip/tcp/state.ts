/**
 * The states of a TCP connection and the table of RFC 9293 3.3.2 (figure 5), as data: (state, event) → state + action.
 *
 * Path: transitions, ack, tcp/advice → state.
 *
 * An event is something already found true: a FIN that is in order, an acknowledgment that covers our FIN, a reset that
 * passed RFC 5961's checks. A segment may raise several, one after the other: an ACK of our FIN that carries a FIN
 * takes FIN-WAIT-1 over FIN-WAIT-2 to TIME-WAIT.
 *
 * Every cell is written down. `ILLEGAL` is a cell that no caller may reach, whatever the network sends: reaching it is
 * our mistake. `stay` is a cell that can be reached and changes nothing.
 *
 * Calls that were answered with SYN-ACK but not yet acknowledged are not connections: the SYN queue keeps them, and
 * half_open has their checks. So SYN-RECEIVED is entered here only by a simultaneous open, and for the moment in which
 * the SYN queue's entry becomes a connection (`Spawn`).
 *
 * @module
 */

/** States, RFC 9293 3.3.2. */
export const TcpState = {
  Closed: 0,
  Listen: 1,
  SynSent: 2,
  SynReceived: 3,
  Established: 4,
  FinWait1: 5,
  FinWait2: 6,
  CloseWait: 7,
  Closing: 8,
  LastAck: 9,
  TimeWait: 10,
} as const;
export type TcpState = typeof TcpState[keyof typeof TcpState];

/** Akaros' words for them, and one of ours (Syn_received). */
export const STATE_NAMES: readonly string[] = [
  "Closed",
  "Listen",
  "Syn_sent",
  "Syn_received",
  "Established",
  "Finwait1",
  "Finwait2",
  "Close_wait",
  "Closing",
  "Last_ack",
  "Time_wait",
];

/** What may happen to a connection. */
export const TcpEvent = {
  /** announce. */
  PassiveOpen: 0,
  /** connect. */
  ActiveOpen: 1,
  /** The handshake of a call from the SYN queue is done. */
  Spawn: 2,
  /** Nothing more will be written: shutdown wr, or the last close. */
  Close: 3,
  /** hangup, or a close that lost data. */
  Abort: 4,
  /** A SYN without ACK. */
  Syn: 5,
  /** A SYN that acknowledges ours. */
  SynAck: 6,
  /** Our SYN is acknowledged. */
  AckOfSyn: 7,
  /** The peer's FIN, in order. */
  Fin: 8,
  /** Our FIN is acknowledged. */
  AckOfFin: 9,
  /** A reset that passed the checks. */
  Rst: 10,
  /** The peer has not answered for too long. */
  GiveUp: 11,
  /** 2MSL is over, or the wait for the FIN of a closed conversation. */
  Expire: 12,
} as const;
export type TcpEvent = typeof TcpEvent[keyof typeof TcpEvent];

export const TcpAction = {
  None: 0,
  SendSyn: 1,
  SendSynAck: 2,
  /** Tell the user that the connection stands. */
  Connected: 3,
  /** The FIN goes out behind the queued data. */
  QueueFin: 4,
  /** Remember the close: it is carried out when the connection stands (RFC 9293 3.10.4, SYN-RECEIVED). */
  CloseLater: 5,
  /** The reader is at the end; acknowledge at once. */
  PeerClosed: 6,
  WaitForFin: 7,
  /** (Re)start the 2MSL timer and acknowledge. */
  StartTimeWait: 8,
  SendRst: 9,
  Refused: 10,
  Reset: 11,
  TimedOut: 12,
  /** Forget the connection, without an error. */
  Forget: 13,
  /** The user gave up before it stood. */
  Abandoned: 14,
} as const;
export type TcpAction = typeof TcpAction[keyof typeof TcpAction];

/** What an event does: the next state, and what else. */
interface Transition {
  readonly to: TcpState;
  readonly action: TcpAction;
}

/** A cell that cannot be reached. */
export const ILLEGAL = null;
type Cell = Transition | typeof ILLEGAL;

const S = TcpState;
const A = TcpAction;

const go = (to: TcpState, action: TcpAction = A.None): Transition => ({ to, action });
/** For the constants below, which are shared by many rows. */
const forget = go(S.Closed, A.Forget);
const refused = go(S.Closed, A.Refused);
const reset = go(S.Closed, A.Reset);
const timedOut = go(S.Closed, A.TimedOut);
const abort = go(S.Closed, A.SendRst);
const timeWait = go(S.TimeWait, A.StartTimeWait);
const _ = ILLEGAL;

/** Rows by {@link TcpState}; columns by {@link TcpEvent}, in its order. */
// deno-fmt-ignore
const TABLE: readonly (readonly Cell[])[] = [
  // PassiveOpen, ActiveOpen, Spawn
  // Close, Abort
  // Syn, SynAck, AckOfSyn
  // Fin, AckOfFin
  // Rst, GiveUp, Expire
  /* Closed */ [
    go(S.Listen), go(S.SynSent, A.SendSyn), go(S.SynReceived),
    _, _,
    _, _, _,
    _, _,
    _, _, _,
  ],
  /* Listen */ [
    _, _, _,
    forget, forget,
    _, _, _,
    _, _,
    _, _, _,
  ],
  /* SynSent */ [
    _, _, _,
    forget, go(S.Closed, A.Abandoned),
    go(S.SynReceived, A.SendSynAck), go(S.Established, A.Connected), _,
    _, _,
    refused, timedOut, _,
  ],
  /* SynReceived */ [
    _, _, _,
    go(S.SynReceived, A.CloseLater), abort,
    _, _, go(S.Established, A.Connected),
    _, _,
    refused, timedOut, _,
  ],
  /* Established */ [
    _, _, _,
    go(S.FinWait1, A.QueueFin), abort,
    _, _, _,
    go(S.CloseWait, A.PeerClosed), _,
    reset, timedOut, _,
  ],
  /* FinWait1 */ [
    _, _, _,
    go(S.FinWait1), abort,
    _, _, _,
    go(S.Closing, A.PeerClosed), go(S.FinWait2, A.WaitForFin),
    reset, timedOut, _,
  ],
  /* FinWait2 */ [
    _, _, _,
    go(S.FinWait2, A.WaitForFin), abort,
    _, _, _,
    timeWait, _,
    reset, timedOut, forget,
  ],
  /* CloseWait */ [
    _, _, _,
    go(S.LastAck, A.QueueFin), abort,
    _, _, _,
    _, _,
    reset, timedOut, _,
  ],
  /* Closing */ [
    _, _, _,
    go(S.Closing), abort,
    _, _, _,
    _, timeWait,
    reset, timedOut, _,
  ],
  /* LastAck */ [
    _, _, _,
    go(S.LastAck), abort,
    _, _, _,
    _, forget,
    reset, timedOut, _,
  ],
  /* TimeWait */ [
    _, _, _,
    go(S.TimeWait), forget,
    _, _, _,
    timeWait, _,
    forget, _, forget,
  ],
];

/** How many events there are: the width of the table. */
export const TCP_EVENTS: number = Object.keys(TcpEvent).length;

/** What `event` does in `state`. */
export function transition(state: TcpState, event: TcpEvent): Cell {
  return TABLE[state]![event]!;
}

/** Whether both sides know each other's sequence numbers. */
export function isSynchronized(state: TcpState): boolean {
  return state >= S.SynReceived;
}

/** Whether data and FIN may be sent, and sent again. */
export function maySend(state: TcpState): boolean {
  return state >= S.Established && state !== S.FinWait2 && state !== S.TimeWait;
}

/** Whether the peer may still send data: its FIN has not come. */
export function mayReceive(state: TcpState): boolean {
  return state === S.Established || state === S.FinWait1 || state === S.FinWait2;
}
