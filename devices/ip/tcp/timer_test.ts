import { assertEquals } from "@std/assert";
import { VirtualClock } from "../../../kernel/time.ts";
import { TcpTimers, TimerSlot, XmitTimer } from "./timer.ts";

Deno.test("TcpTimers runs each slot at its time, over one kernel timer", () => {
  const clock = new VirtualClock();
  const ran: string[] = [];
  const timers = new TcpTimers(clock, (slot) => ran.push(`${slot} ${clock.now()}`));
  timers.set(TimerSlot.Linger, 30);
  timers.set(TimerSlot.Ack, 10);
  timers.setXmit(XmitTimer.TailProbe, 20);
  assertEquals([clock.timerCount, timers.xmit], [1, XmitTimer.TailProbe]);
  clock.advance(100);
  assertEquals(ran, ["1 10", "0 20", "3 30"]);
  assertEquals(clock.timerCount, 0);
});

Deno.test("TcpTimers moves a deadline forward without touching the kernel timer, and runs at the new time only", () => {
  const clock = new VirtualClock();
  const ran: number[] = [];
  const timers = new TcpTimers(clock, () => ran.push(clock.now()));
  for (let i = 0; i < 10; i++) {
    timers.setXmit(XmitTimer.Retransmit, 50);
    clock.advance(10);
  }
  assertEquals(ran, []);
  clock.advance(100);
  assertEquals(ran, [140]);
});

Deno.test("TcpTimers holds no kernel timer when no slot is set", () => {
  const clock = new VirtualClock();
  const timers = new TcpTimers(clock, () => {});
  timers.set(TimerSlot.Ack, 10);
  timers.set(TimerSlot.Linger, 20);
  timers.clear(TimerSlot.Ack);
  assertEquals(clock.timerCount, 1);
  timers.clear(TimerSlot.Linger);
  assertEquals(clock.timerCount, 0);
  timers.setXmit(XmitTimer.Persist, 1);
  timers.clearAll();
  assertEquals([clock.timerCount, timers.xmit], [0, XmitTimer.None]);
});

Deno.test("TcpTimers lets what runs set slots again", () => {
  const clock = new VirtualClock();
  let left = 3;
  const timers: TcpTimers = new TcpTimers(clock, () => {
    if (--left > 0) timers.set(TimerSlot.Keepalive, 5);
  });
  timers.set(TimerSlot.Keepalive, 5);
  clock.advance(100);
  assertEquals([left, clock.timerCount], [0, 0]);
});
