/**
 * shiftingBytes: memory that reports every read, so that a test can count reads or change the next one's bytes
 * (TOCTOU).
 *
 * Path: virtio_net_hostile_test → shifting_bytes → net_rig's memory.
 *
 * @module
 */

/** `bytes`, where `onRead` is called after each read of a byte with its index; for a view, once for each byte of it. */
export function shiftingBytes(bytes: Uint8Array, onRead: (at: number) => void): Uint8Array {
  return new Proxy(bytes, {
    get(target, key) {
      if (typeof key === "string" && /^\d+$/.test(key)) {
        const value = target[Number(key)];
        onRead(Number(key));
        return value;
      }
      if (key === "subarray") {
        return (from: number, end: number) => {
          const view = target.slice(from, end);
          for (let at = from; at < end; at++) onRead(at);
          return view;
        };
      }
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
    set(target, key, value) {
      return Reflect.set(target, key, value, target);
    },
  });
}
