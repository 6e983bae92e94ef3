import { assert, assertEquals } from "@std/assert";
import {
  ILLEGAL,
  isSynchronized,
  mayReceive,
  maySend,
  STATE_NAMES,
  TCP_EVENTS,
  TcpAction,
  TcpEvent,
  TcpState,
  transition,
} from "./state.ts";

const STATES = Object.values(TcpState);
const EVENTS = Object.values(TcpEvent);
const eventName = (event: TcpEvent) => Object.entries(TcpEvent).find(([, number]) => number === event)![0];
const actionName = (action: TcpAction) => Object.entries(TcpAction).find(([, number]) => number === action)![0];

/** The table as people read it: `event>state/action` of each legal cell. */
function row(state: TcpState): string {
  return EVENTS.flatMap((event) => {
    const cell = transition(state, event);
    return cell === ILLEGAL ? [] : [`${eventName(event)}>${STATE_NAMES[cell.to]}/${actionName(cell.action)}`];
  }).join(" ");
}

Deno.test("transition() has a cell for every state and event", () => {
  assertEquals([STATES.length, TCP_EVENTS, STATE_NAMES.length], [11, 13, 11]);
  for (const state of STATES) {
    for (const event of EVENTS) assert(transition(state, event) !== undefined, `${STATE_NAMES[state]} ${event}`);
  }
});

Deno.test("transition() is figure 5 of RFC 9293; every cell that is not named here is illegal", () => {
  assertEquals(STATES.map((state) => `${STATE_NAMES[state]}: ${row(state)}`), [
    "Closed: PassiveOpen>Listen/None ActiveOpen>Syn_sent/SendSyn Spawn>Syn_received/None",
    "Listen: Close>Closed/Forget Abort>Closed/Forget",
    "Syn_sent: Close>Closed/Forget Abort>Closed/Abandoned Syn>Syn_received/SendSynAck " +
    "SynAck>Established/Connected Rst>Closed/Refused GiveUp>Closed/TimedOut",
    "Syn_received: Close>Syn_received/CloseLater Abort>Closed/SendRst AckOfSyn>Established/Connected " +
    "Rst>Closed/Refused GiveUp>Closed/TimedOut",
    "Established: Close>Finwait1/QueueFin Abort>Closed/SendRst Fin>Close_wait/PeerClosed Rst>Closed/Reset " +
    "GiveUp>Closed/TimedOut",
    "Finwait1: Close>Finwait1/None Abort>Closed/SendRst Fin>Closing/PeerClosed AckOfFin>Finwait2/WaitForFin " +
    "Rst>Closed/Reset GiveUp>Closed/TimedOut",
    "Finwait2: Close>Finwait2/WaitForFin Abort>Closed/SendRst Fin>Time_wait/StartTimeWait Rst>Closed/Reset " +
    "GiveUp>Closed/TimedOut Expire>Closed/Forget",
    "Close_wait: Close>Last_ack/QueueFin Abort>Closed/SendRst Rst>Closed/Reset GiveUp>Closed/TimedOut",
    "Closing: Close>Closing/None Abort>Closed/SendRst AckOfFin>Time_wait/StartTimeWait Rst>Closed/Reset " +
    "GiveUp>Closed/TimedOut",
    "Last_ack: Close>Last_ack/None Abort>Closed/SendRst AckOfFin>Closed/Forget Rst>Closed/Reset " +
    "GiveUp>Closed/TimedOut",
    "Time_wait: Close>Time_wait/None Abort>Closed/Forget Fin>Time_wait/StartTimeWait Rst>Closed/Forget " +
    "Expire>Closed/Forget",
  ]);
});

Deno.test("transition() leads from every state to Closed, and out of Closed only by an open", () => {
  for (const state of STATES) {
    const seen = new Set<TcpState>([state]);
    for (const one of seen) {
      for (const event of EVENTS) {
        const cell = transition(one, event);
        if (cell !== ILLEGAL && one !== TcpState.Closed) seen.add(cell.to);
      }
    }
    assert(seen.has(TcpState.Closed));
  }
});

Deno.test("maySend(), mayReceive() and isSynchronized() name the states that RFC 9293 3.10 does", () => {
  const names = (is: (state: TcpState) => boolean) => STATES.filter(is).map((state) => STATE_NAMES[state]).join(" ");
  assertEquals(names(maySend), "Established Finwait1 Close_wait Closing Last_ack");
  assertEquals(names(mayReceive), "Established Finwait1 Finwait2");
  assertEquals(names(isSynchronized), STATE_NAMES.slice(3).join(" "));
});
