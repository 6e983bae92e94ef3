/**
 * Counters of one stack's TCP, with Akaros' names first (the `stats` file).
 *
 * Path: half_open, tcb, tcp/tcp → tcp/stats.
 *
 * A segment that is dropped raises exactly one of the counters that end in "drops" or "errs".
 *
 * @module
 */

/** What is counted elsewhere. */
interface TcpFigures {
  readonly maxConn: number;
  readonly currEstab: number;
  readonly synQueue: number;
  readonly callsDropped: number;
  readonly orphans: number;
  readonly memory: number;
  readonly memoryMax: number;
  readonly memoryWaits: number;
}

/** Counters. */
export class TcpStats {
  activeOpens = 0;
  passiveOpens = 0;
  estabResets = 0;
  inSegs = 0;
  outSegs = 0;
  retransSegs = 0;
  retransTimeouts = 0;
  outRsts = 0;
  csumErrs = 0;
  hlenErrs = 0;
  lenErrs = 0;
  outOfOrder = 0;
  /** Segments delivered to a bypassed conversation. */
  inBypassed = 0;
  /** Not addressed to one host, or from no host's address. */
  castErrs = 0;
  /** Without a conversation: answered by a reset. */
  noPorts = 0;
  fastRecoveries = 0;
  tailProbes = 0;
  windowProbes = 0;
  keepalives = 0;
  /** Retransmissions that a D-SACK proved to be for nothing. */
  spuriousRetrans = 0;
  dsacksIn = 0;
  dsacksOut = 0;
  reneges = 0;
  pawsDrops = 0;
  /** Outside of the window. */
  windowDrops = 0;
  /** Acknowledgments of what was never sent, or of long ago (RFC 5961 5). */
  ackDrops = 0;
  /** Without ACK, or with flags that make no sense in the state. */
  flagDrops = 0;
  /** Data without room for it. */
  roomDrops = 0;
  challengeAcks = 0;
  /** Challenges not sent: too many. */
  challengeSuppressed = 0;
  synQueueDrops = 0;
  synCookiesSent = 0;
  synCookiesOk = 0;
  synCookiesBad = 0;
  timeWaitReuses = 0;
  /** TIME-WAITs and orphans cut short because conversations ran out. */
  collected = 0;
  /** Orphans whose peer took nothing for too long. */
  orphanTimeouts = 0;
  /** Orphans ended for others: too many, no memory, no conversation. */
  orphansEnded = 0;
  /** Stores of early data that were dropped. */
  earlyDrops = 0;
  ecnMarksIn = 0;
  ecnReductions = 0;
  mtuReductions = 0;
  adviceIgnored = 0;

  /** The text of the `stats` file. */
  format(now: TcpFigures): string {
    const lines: readonly (readonly [string, number])[] = [
      ["MaxConn", now.maxConn],
      ["ActiveOpens", this.activeOpens],
      ["PassiveOpens", this.passiveOpens],
      ["EstabResets", this.estabResets],
      ["CurrEstab", now.currEstab],
      ["InSegs", this.inSegs],
      ["OutSegs", this.outSegs],
      ["RetransSegs", this.retransSegs],
      ["RetransTimeouts", this.retransTimeouts],
      ["InErrs", this.csumErrs + this.hlenErrs + this.lenErrs],
      ["OutRsts", this.outRsts],
      ["CsumErrs", this.csumErrs],
      ["HlenErrs", this.hlenErrs],
      ["LenErrs", this.lenErrs],
      ["OutOfOrder", this.outOfOrder],
      ["InBypassed", this.inBypassed],
      ["CastErrs", this.castErrs],
      ["NoPorts", this.noPorts],
      ["FastRecoveries", this.fastRecoveries],
      ["TailProbes", this.tailProbes],
      ["WindowProbes", this.windowProbes],
      ["Keepalives", this.keepalives],
      ["SpuriousRetrans", this.spuriousRetrans],
      ["DsacksIn", this.dsacksIn],
      ["DsacksOut", this.dsacksOut],
      ["Reneges", this.reneges],
      ["PawsDrops", this.pawsDrops],
      ["WindowDrops", this.windowDrops],
      ["AckDrops", this.ackDrops],
      ["FlagDrops", this.flagDrops],
      ["RoomDrops", this.roomDrops],
      ["ChallengeAcks", this.challengeAcks],
      ["ChallengeSuppressed", this.challengeSuppressed],
      ["Limbo", now.synQueue],
      ["LimboDrops", this.synQueueDrops],
      ["CallsDropped", now.callsDropped],
      ["SynCookiesSent", this.synCookiesSent],
      ["SynCookiesOk", this.synCookiesOk],
      ["SynCookiesBad", this.synCookiesBad],
      ["TimeWaitReuses", this.timeWaitReuses],
      ["Collected", this.collected],
      ["Orphans", now.orphans],
      ["OrphanTimeouts", this.orphanTimeouts],
      ["OrphansEnded", this.orphansEnded],
      ["EarlyDrops", this.earlyDrops],
      ["Memory", now.memory],
      ["MemoryMax", now.memoryMax],
      ["MemoryWaits", now.memoryWaits],
      ["EcnMarksIn", this.ecnMarksIn],
      ["EcnReductions", this.ecnReductions],
      ["MtuReductions", this.mtuReductions],
      ["AdviceIgnored", this.adviceIgnored],
    ];
    return lines.map(([name, value]) => `${name}: ${value}\n`).join("");
  }
}
