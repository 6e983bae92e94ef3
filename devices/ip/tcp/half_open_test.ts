/** The checks of a segment for a call in SYN-RECEIVED, one by one and in their order (RFC 9293 3.10.7.4). */

import { assertEquals } from "@std/assert";
import { HERE, THERE } from "../../../tests/kit/tcp/host.ts";
import { OUR_PORT, PEER_PORT } from "../../../tests/kit/tcp/peer.ts";
import { peerListen } from "../../../tests/kit/tcp/peer_states.ts";
import { TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, type TcpHeader } from "../../../kernel/wire/tcp.ts";
import { NO_TCP_OPTIONS } from "../../../kernel/wire/tcp_options.ts";
import { checkHalfOpen, HalfOpen, Verdict } from "./half_open.ts";
import { TcpStats } from "./stats.ts";

/** The peer's and our initial sequence numbers: the first wraps at once. */
const IRS = 0xffff_ffff;
const ISS = 1000;
const WINDOW = 65_535;
const TS_RECENT = 500;

function call(timestamps: boolean): HalfOpen {
  return new HalfOpen({
    listener: peerListen().conv,
    ends: { laddr: HERE, lport: OUR_PORT, raddr: THERE, rport: PEER_PORT },
    irs: IRS,
    iss: ISS,
    agreement: { peerMss: 1460, sendShift: 0, receiveShift: 0, sack: false, timestamps, ecn: false },
    tsRecent: TS_RECENT,
    sentMs: 0,
  });
}

/** A row of a table: a segment, the verdict, and the counter that it raises, if any. */
interface Row {
  readonly what: string;
  readonly flags: number;
  /** Default: RCV.NXT, which is 0. */
  readonly seq?: number;
  /** Default: what acknowledges our SYN. */
  readonly ack?: number;
  readonly len?: number;
  readonly tsVal?: number;
  readonly verdict: Verdict;
  readonly counts?: "pawsDrops" | "windowDrops" | "flagDrops";
}

function check(row: Row, timestamps: boolean): void {
  const { flags, seq = 0, ack = ISS + 1, len = 0, tsVal } = row;
  const options = tsVal === undefined ? NO_TCP_OPTIONS : { ...NO_TCP_OPTIONS, hasTimestamps: true, tsVal };
  const header: TcpHeader = {
    srcPort: PEER_PORT,
    dstPort: OUR_PORT,
    seq,
    ack,
    flags,
    window: 1000,
    checksum: 0,
    urgent: 0,
    options,
    headerLen: 20,
  };
  const stats = new TcpStats();
  const verdict = checkHalfOpen(call(timestamps), header, len, stats);
  const { pawsDrops, windowDrops, flagDrops } = stats;
  const none = { pawsDrops: 0, windowDrops: 0, flagDrops: 0 };
  const counted = row.counts === undefined ? none : { ...none, [row.counts]: 1 };
  assertEquals({ verdict, pawsDrops, windowDrops, flagDrops }, { verdict: row.verdict, ...counted }, row.what);
}

Deno.test("checkHalfOpen() looks at the reset, the repeated SYN, the window, the SYN and the ACK in this order", () => {
  const rows: Row[] = [
    { what: "a reset at RCV.NXT", flags: TCP_RST | TCP_SYN, verdict: Verdict.End },
    { what: "a reset elsewhere in the window", flags: TCP_RST, seq: 1, verdict: Verdict.Challenge },
    { what: "a reset behind it", flags: TCP_RST, seq: WINDOW, verdict: Verdict.Drop, counts: "windowDrops" },
    { what: "the SYN again", flags: TCP_SYN, seq: IRS, verdict: Verdict.Answer },
    {
      what: "a SYN-ACK with its number",
      flags: TCP_SYN | TCP_ACK,
      seq: IRS,
      verdict: Verdict.Challenge,
      counts: "windowDrops",
    },
    { what: "another SYN", flags: TCP_SYN, seq: 7, verdict: Verdict.Challenge },
    {
      what: "data behind the window",
      flags: TCP_ACK,
      seq: WINDOW,
      len: 1,
      verdict: Verdict.Challenge,
      counts: "windowDrops",
    },
    { what: "data that end in the window", flags: TCP_ACK, seq: IRS, len: 2, verdict: Verdict.Accept },
    { what: "no ACK", flags: TCP_FIN, verdict: Verdict.Drop, counts: "flagDrops" },
    { what: "an ACK of our SYN", flags: TCP_ACK, verdict: Verdict.Accept },
    { what: "an ACK of less", flags: TCP_ACK, ack: ISS, verdict: Verdict.Refuse },
    { what: "an ACK of more", flags: TCP_ACK, ack: ISS + 2, verdict: Verdict.Refuse },
  ];
  for (const row of rows) check(row, false);
});

Deno.test("checkHalfOpen() drops and challenges by timestamps before the window (RFC 7323 5.3)", () => {
  const rows: Row[] = [
    { what: "none, on data", flags: TCP_ACK, len: 9, verdict: Verdict.Drop, counts: "pawsDrops" },
    { what: "none, on an empty ACK", flags: TCP_ACK, verdict: Verdict.Accept },
    { what: "an old one", flags: TCP_ACK, tsVal: TS_RECENT - 1, verdict: Verdict.Challenge, counts: "pawsDrops" },
    { what: "the same", flags: TCP_ACK, tsVal: TS_RECENT, len: 9, verdict: Verdict.Accept },
    { what: "an old one on a reset", flags: TCP_RST, tsVal: TS_RECENT - 1, verdict: Verdict.End },
  ];
  for (const row of rows) check(row, true);
});

Deno.test("HalfOpen.retry() doubles the wait from one second on (RFC 6298 2.1, 5.5)", () => {
  const half = call(false);
  const waits = [half.dueMs];
  for (let i = 0; i < 3; i++) {
    const now = half.dueMs;
    half.retry(now);
    waits.push(half.dueMs - now);
  }
  assertEquals(waits, [1000, 2000, 4000, 8000]);
});
