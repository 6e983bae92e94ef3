/**
 * raw: bypass of whole IP protocols that have no directory of their own (ours; Akaros has nothing like it).
 *
 * Path: dev_ip → raw → bypass, conv/advice, conv, conv_space.
 *
 * `bypass [addr!]N` on a conversation of `raw` claims every packet of IP protocol N (47, 132, …); the "port" of such a
 * conversation is the protocol number, and a range of them may be claimed. It does nothing else: no connect, no
 * announce. Protocols with a directory (icmp 1, tcp 6, udp 17 …) are refused: their ports are claimed there. The whole
 * directory is eve's, since a claim is the whole machine's.
 *
 * @module
 */

import { KernelError } from "../../../kernel/error.ts";
import { adviseConv } from "../conv/advice.ts";
import { deliverBypass, takesVersion } from "../network/bypass.ts";
import type { Conv, Proto } from "../conv/conv.ts";
import type { ConvSpace } from "../conv/conv_space.ts";
import { IcmpFault } from "../packet/icmp_fault.ts";
import type { ProtoContext } from "../network/context.ts";
import type { InputPacket } from "../packet/packet.ts";
import type { Advice, BypassRules } from "../conv/proto.ts";

/** Highest IP protocol number. */
const PROTOCOL_MAX = 255;

/** A packet's "port" is its protocol. */
const RULES: BypassRules = {
  sourcePort: (_buf, _at, _end, protocol) => protocol,
  destPort: (_buf, _at, _end, protocol) => protocol,
};

/** Raw protocols of one stack. */
export class RawProto implements Proto {
  readonly name = "raw";
  readonly index = 5;
  readonly ipProtocols: readonly number[] = [];
  readonly convsMax = 256;
  readonly bypassable = true;
  readonly bypass: BypassRules = RULES;
  readonly adminOnly = true;
  inPackets = 0;
  /** Packets to an address for which their protocol is not claimed. */
  noConv = 0;
  #space: ConvSpace | null = null;

  constructor(readonly stack: ProtoContext) {}

  get space(): ConvSpace {
    return this.#space ??= this.stack.space(this);
  }

  create(_conv: Conv): void {}

  bypassed(conv: Conv): void {
    if (conv.lportEnd > PROTOCOL_MAX) {
      throw new KernelError("EINVAL", `Cannot bypass: name an IP protocol of 1 to ${PROTOCOL_MAX}, or a range`);
    }
    for (let number = conv.lport; number <= conv.lportEnd; number++) {
      const proto = this.stack.protocolFor(number);
      if (proto === null || proto === this) continue;
      throw new KernelError("EBUSY", `Cannot bypass protocol ${number}: it has the directory "${proto.name}"`);
    }
    for (let number = conv.lport; number <= conv.lportEnd; number++) this.stack.setReceiver(number, this);
  }

  /** A protocol that is not claimed any more is unknown again. */
  close(conv: Conv): void {
    this.space.unclaim(conv);
    for (let number = conv.lport; number <= Math.min(conv.lportEnd, PROTOCOL_MAX); number++) {
      if (this.stack.protocolFor(number) !== this) continue;
      const claimed = this.space.convs.some((one) =>
        one !== conv && one.bypass !== null && number >= one.lport && number <= one.lportEnd
      );
      if (!claimed) this.stack.setReceiver(number, null);
    }
  }

  input(packet: InputPacket): void {
    const conv = this.space.table.findLocal(packet.dst, packet.protocol);
    if (conv === null || conv.bypass === null || !takesVersion(conv, packet.version)) {
      this.noConv++;
      this.stack.icmpErrors.report(packet, IcmpFault.Protocol);
      return packet.block.free();
    }
    this.inPackets++;
    deliverBypass(conv, packet.block);
  }

  advise(advice: Advice): boolean {
    const conv = this.space.table.findLocal(advice.laddr, advice.protocol);
    if (conv !== null) adviseConv(conv, advice);
    return conv !== null;
  }

  status(conv: Conv): string {
    return `${conv.inUse > 0 ? "Open" : "Closed"}\n`;
  }

  stats(): string {
    return `InPackets: ${this.inPackets}\nNoConv: ${this.noConv}\n`;
  }
}
