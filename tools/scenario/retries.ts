/**
 * Retries: how often a request is repeated on a wire that loses packets, and which requests are not worth sending
 * there.
 *
 * Path: guest_steps, steps, scenario → retries → ip_family, report, environment, cable, checksum.
 *
 * A datagram of 65507 bytes is 45 frames each way, and lost with any one of them: on a wire that loses a frame in 20
 * only one in 100 comes back. It is asked for until the odds of failure are small; where even that takes too long the
 * step cannot be had, and says so.
 *
 * @module
 */

import { equals } from "@std/bytes";
import type { CableOptions } from "../../devices/ether/cable.ts";
import { checksum } from "../../kernel/wire/checksum.ts";
import { FAMILIES, type IpFamily } from "./ip_family.ts";
import { expect } from "./report.ts";
import { TimedOut } from "./environment.ts";

/** The header that the first fragment has (UDP or ICMP). */
const HEADER_BYTES = 8;
/** How likely a step may fail though nothing is wrong. */
const MISFORTUNE = 1e-6;
/** Least chance of an exchange that is still waited for: 200 tries are made on the average, and 2763 at most. */
const CHANCE_MIN = 1 / 200;
/** Tries of an action that is no exchange of one datagram, such as opening a connection. */
const TRIES_MIN = 40;

/** See above. */
export class Retries {
  /** Whether anything may befall a frame, or keep it. */
  readonly isFaulty: boolean;
  readonly #corrupts: boolean;
  /** Chance that a frame arrives as it was sent. */
  readonly #frameChance: number;

  constructor(faults: CableOptions = {}) {
    const { loss = 0, corrupt = 0 } = faults;
    this.isFaulty = Object.keys(faults).length > 0;
    this.#corrupts = corrupt > 0;
    this.#frameChance = (1 - loss) * (1 - corrupt);
  }

  /** Chance that a datagram of `size` bytes of payload arrives, and its answer of that size, too. */
  chance(size: number, family: IpFamily = FAMILIES[4]): number {
    return this.#frameChance ** (2 * framesOf(size, family));
  }

  /** Why an exchange of `size` bytes is not worth trying; null: it is. */
  hopeless(size: number, family: IpFamily = FAMILIES[4]): string | null {
    const chance = this.chance(size, family);
    if (chance >= CHANCE_MIN) return null;
    const odds = chance > 0 ? `1 in ${Math.round(1 / chance)}` : "none";
    return `${size} bytes are ${framesOf(size, family)} frames each way: ${odds} comes back`;
  }

  /** Does `act`, again after a timeout if the wire is faulty; `size`: bytes of payload that go there and back. */
  async insist<T>(act: () => Promise<T>, size = 0, family: IpFamily = FAMILIES[4]): Promise<T> {
    for (let left = this.#tries(size, family);; left--) {
      try {
        return await act();
      } catch (error) {
        if (!(error instanceof TimedOut) || left <= 1) throw error;
      }
    }
  }

  #tries(size: number, family: IpFamily): number {
    if (!this.isFaulty) return 1;
    const chance = Math.min(Math.max(this.chance(size, family), CHANCE_MIN), 1 - MISFORTUNE);
    return Math.max(TRIES_MIN, Math.ceil(Math.log(MISFORTUNE) / Math.log(1 - chance)));
  }

  /**
   * Expects an answer with the bytes that were sent. On a wire that flips bits, one that differs and has the same sum
   * is taken for lost: the Internet checksum cannot tell (RFC 1071: two flips of one bit in opposite directions).
   */
  same(answer: Uint8Array, payload: Uint8Array): void {
    if (equals(answer, payload)) return;
    const isUnseen = this.#corrupts && sum(answer) === sum(payload) && answer.length === payload.length;
    if (isUnseen) throw new TimedOut("The answer differs, and its checksum is right");
    expect(false, `The answer differs: ${answer.length} bytes for ${payload.length}`);
  }
}

/** Frames of a datagram of `size` bytes of payload. */
function framesOf(size: number, { fragmentBytes }: IpFamily): number {
  return Math.ceil((size + HEADER_BYTES) / fragmentBytes);
}

function sum(bytes: Uint8Array): number {
  return checksum(bytes, 0, bytes.length);
}
