/**
 * Sums of long buffers: a WebAssembly SIMD function assembled here by hand, and the loop that replaces it elsewhere.
 *
 * Path: checksum → checksum_wide.
 *
 * Both have a scratch memory and a function. The caller copies bytes to the start of the memory and calls
 * `sum(length)`. Words are added in the memory's own order, little endian: the caller swaps the two bytes of the
 * folded result (RFC 1071 2(B): the sum does not depend on byte order). In WebAssembly's text format the SIMD
 * function is:
 *
 *     (func (export "sum") (param $length i32) (result i32) (local $at i32) (local $total v128)
 *       ;; Four vectors of zeros behind the last byte, so that the loop may round the length up to 64.
 *       (v128.store offset=0 (local.get $length) (v128.const 0)) … offset=16, 32, 48
 *       (loop
 *         ;; Each extadd turns eight 16-bit words into four 32-bit sums of two; four vectors a turn.
 *         (local.set $total (i32x4.add (local.get $total) (… the four extadds, added …)))
 *         (br_if 0 (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 64))) (local.get $length))))
 *       ;; Fold every lane to 17 bits, then add the four lanes.
 *       (local.set $total (i32x4.add (v128.and $total 0xffff…) (i32x4.shr_u $total 16)))
 *       (i32.add lane 0, lane 1, lane 2, lane 3))
 *
 * Limits: `WIDE_ROOM` bytes a call. A lane grows by at most 2 * 0xffff per vector: only 512 KiB would overflow it.
 *
 * @module
 */

/** The two 64 KiB pages of the scratch memory: a 64 KiB segment and its headers fit at once. */
const PAGES = 2;
/** How many bytes one call can sum: the memory less the zeros behind the data. */
export const WIDE_ROOM = PAGES * 65536 - 64;

/** A scratch memory and the function that sums it. Nothing is kept in the memory between two calls. */
export interface WideSum {
  /** Where the bytes to sum are put, from index 0 on. */
  readonly memory: Uint8Array;
  /** Adds the little-endian 16-bit words of the first `length` bytes (1 to WIDE_ROOM); the result has up to 20 bits. */
  readonly sum: (length: number) => number;
}

/** A sum by WebAssembly SIMD, or null where that is missing. */
export function simdWideSum(): WideSum | null {
  if (typeof WebAssembly === "undefined" || !WebAssembly.validate(MODULE)) return null;
  const { memory, sum } = new WebAssembly.Instance(new WebAssembly.Module(MODULE)).exports;
  return { memory: new Uint8Array((memory as WebAssembly.Memory).buffer), sum: sum as (length: number) => number };
}

/** A sum by a loop over 32-bit words, for little-endian hosts without SIMD: four times as slow. */
export function loopWideSum(): WideSum {
  const memory = new Uint8Array(WIDE_ROOM + 64);
  const words = new Uint32Array(memory.buffer);
  const sum = (length: number): number => {
    memory.fill(0, length, length + 4);
    const end = (length + 3) >>> 2;
    let low = 0;
    let high = 0;
    for (let i = 0; i < end; i++) {
      low += words[i]! & 0xffff;
      high += words[i]! >>> 16;
    }
    return (low & 0xffff) + (low >>> 16) + (high & 0xffff) + (high >>> 16);
  };
  return { memory, sum };
}

// Value types.
const I32 = 0x7f;
const V128 = 0x7b;

// Locals of the function: its parameter first.
const LENGTH = 0;
const AT = 1;
const TOTAL = 2;

// Instructions (WebAssembly core specification 5.4). Those behind 0xfd are vector instructions, with a LEB128 number.
const END = [0x0b];
const I32_ADD = [0x6a];
const I32_LT_U = [0x49];
const V128_AND = [0xfd, 0x4e];
const I32X4_ADD = [0xfd, 0xae, 0x01];
const I32X4_SHR_U = [0xfd, 0xad, 0x01];
const I32X4_EXTADD_PAIRWISE_I16X8_U = [0xfd, 0x7f];
const LOOP_BEGIN = [0x03, 0x40];
const BR_IF_LOOP = [0x0d, 0x00];

const get = (local: number) => [0x20, local];
const set = (local: number) => [0x21, local];
const tee = (local: number) => [0x22, local];
const i32Const = (value: number) => [0x41, ...leb(value)];
/** A vector of four equal 32-bit lanes whose value has at most 16 bits. */
const v128Splat = (lane: number) => [0xfd, 0x0c, ...[0, 1, 2, 3].flatMap(() => [lane & 255, lane >>> 8, 0, 0])];
// The two bytes after the number are the alignment hint (2^0: none promised) and the constant offset.
const v128Load = (offset: number) => [0xfd, 0x00, 0, offset];
const v128Store = (offset: number) => [0xfd, 0x0b, 0, offset];
const i32x4Lane = (lane: number) => [0xfd, 0x1b, lane];

const STEPS = [0, 16, 32, 48];

const BODY = [
  ...[2, 1, I32, 1, V128], // two groups of locals: one i32 (AT), one v128 (TOTAL)
  ...STEPS.flatMap((step) => [...get(LENGTH), ...v128Splat(0), ...v128Store(step)]),
  ...LOOP_BEGIN,
  ...get(TOTAL),
  ...STEPS.flatMap((step) => [...get(AT), ...v128Load(step), ...I32X4_EXTADD_PAIRWISE_I16X8_U, ...I32X4_ADD]),
  ...set(TOTAL),
  ...[...get(AT), ...i32Const(64), ...I32_ADD, ...tee(AT), ...get(LENGTH), ...I32_LT_U, ...BR_IF_LOOP],
  ...END,
  ...[...get(TOTAL), ...v128Splat(0xffff), ...V128_AND],
  ...[...get(TOTAL), ...i32Const(16), ...I32X4_SHR_U],
  ...[...I32X4_ADD, ...set(TOTAL)],
  ...[...get(TOTAL), ...i32x4Lane(0), ...get(TOTAL), ...i32x4Lane(1), ...I32_ADD],
  ...[...get(TOTAL), ...i32x4Lane(2), ...get(TOTAL), ...i32x4Lane(3), ...I32_ADD],
  ...I32_ADD,
  ...END,
];

const MODULE = new Uint8Array([
  ...[0x00, ...ascii("asm"), 1, 0, 0, 0], // magic and version
  ...section(1, [[0x60, 1, I32, 1, I32]]), // type 0: (i32) → i32
  ...section(3, [[0]]), // function 0 has type 0
  ...section(5, [[1, PAGES, PAGES]]), // memory 0: cannot grow, so its buffer is never detached
  ...section(7, [[...name("memory"), 2, 0], [...name("sum"), 0, 0]]),
  ...section(10, [[...leb(BODY.length), ...BODY]]),
]);

/** A section that holds a vector of items. */
function section(id: number, items: readonly number[][]): number[] {
  const content = [items.length, ...items.flat()];
  return [id, ...leb(content.length), ...content];
}

function name(text: string): number[] {
  return [text.length, ...ascii(text)];
}

function ascii(text: string): number[] {
  return [...text].map((letter) => letter.charCodeAt(0));
}

/** LEB128 of a number below 2^13: it reads the same as signed and as unsigned. */
function leb(value: number): number[] {
  return value < 64 ? [value] : [(value & 0x7f) | 0x80, value >>> 7];
}
