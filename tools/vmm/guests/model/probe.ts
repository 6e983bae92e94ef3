/**
 * How the model driver finds a device, negotiates features, and sets up a queue (virtio 1.2, 3.1.1, 4.2.3).
 *
 * Path: driver → probe → ring, ids.
 *
 * @module
 */

import { DEVICE_ID_NET, Feature, MMIO_MAGIC, MMIO_VERSION, Reg, Status } from "../../virtio/ids.ts";
import type { ModelRing } from "./ring.ts";

/** The register page as a driver sees it. */
export interface RegisterPage {
  read(offset: number, size?: number): number;
  write(offset: number, value: number, size?: number): void;
}

/** All features that the driver supports. */
const WANTED: readonly number[] = [
  Feature.Csum,
  Feature.GuestCsum,
  Feature.Mtu,
  Feature.Mac,
  Feature.GuestTso4,
  Feature.GuestTso6,
  Feature.GuestEcn,
  Feature.HostTso4,
  Feature.HostTso6,
  Feature.HostEcn,
  Feature.MrgRxbuf,
  Feature.Status,
  Feature.CtrlVq,
  Feature.CtrlRx,
  Feature.CtrlMacAddr,
  Feature.IndirectDesc,
  Feature.EventIdx,
  Feature.Version1,
];

/** Features that need one of those behind them (5.1.3.1). Segments need buffers for 64 KiB, or MRG_RXBUF. */
const USELESS_WITHOUT: readonly (readonly [feature: number, needed: readonly number[]])[] = [
  [Feature.GuestTso4, [Feature.MrgRxbuf]],
  [Feature.GuestTso6, [Feature.MrgRxbuf]],
  [Feature.GuestTso4, [Feature.GuestCsum]],
  [Feature.GuestTso6, [Feature.GuestCsum]],
  [Feature.HostTso4, [Feature.Csum]],
  [Feature.HostTso6, [Feature.Csum]],
  [Feature.GuestEcn, [Feature.GuestTso4, Feature.GuestTso6]],
  [Feature.HostEcn, [Feature.HostTso4, Feature.HostTso6]],
  [Feature.CtrlRx, [Feature.CtrlVq]],
  [Feature.CtrlMacAddr, [Feature.CtrlVq]],
];

/** The fields of the configuration space that a network driver reads (5.1.4). */
interface NetConfig {
  readonly mac: readonly number[];
  readonly linkUp: boolean;
  /** Null: the device does not offer it. */
  readonly mtu: number | null;
}

/** Finds a network device and negotiates all features but `refuse`; null if this driver does not support it. */
export function agree(page: RegisterPage, refuse: readonly number[]): ReadonlySet<number> | null {
  if (page.read(Reg.Magic) !== MMIO_MAGIC || page.read(Reg.Version) !== MMIO_VERSION) return null;
  if (page.read(Reg.DeviceId) !== DEVICE_ID_NET) return null;
  page.write(Reg.Status, 0);
  if (page.read(Reg.Status) !== 0) return null;
  page.write(Reg.Status, Status.Acknowledge);
  addStatus(page, Status.Driver);
  const features = new Set(WANTED.filter((bit) => !refuse.includes(bit) && isOffered(page, bit)));
  for (const [feature, needed] of USELESS_WITHOUT) {
    if (!needed.some((bit) => features.has(bit))) features.delete(feature);
  }
  for (const word of [0, 1]) {
    let bits = 0;
    for (const bit of features) if (bit >> 5 === word) bits |= 1 << (bit & 31);
    page.write(Reg.DriverFeaturesSel, word);
    page.write(Reg.DriverFeatures, bits >>> 0);
  }
  addStatus(page, Status.FeaturesOk);
  if ((page.read(Reg.Status) & Status.FeaturesOk) !== 0) return features;
  addStatus(page, Status.Failed);
  return null;
}

function isOffered(page: RegisterPage, bit: number): boolean {
  page.write(Reg.DeviceFeaturesSel, bit >> 5);
  return ((page.read(Reg.DeviceFeatures) >>> (bit & 31)) & 1) !== 0;
}

/** Adds a bit to the device's status. */
export function addStatus(page: RegisterPage, bit: number): void {
  page.write(Reg.Status, page.read(Reg.Status) | bit);
}

/** Times that the configuration is read again because it changed meanwhile. */
const CONFIG_TRIES = 8;

/** Reads the configuration space, again if it changed meanwhile (2.5.1). */
export function readNetConfig(page: RegisterPage, features: ReadonlySet<number>): NetConfig {
  for (let tries = CONFIG_TRIES;; tries--) {
    const generation = page.read(Reg.ConfigGeneration);
    const mac = [0, 1, 2, 3, 4, 5].map((i) => page.read(Reg.Config + i, 1));
    const linkUp = !features.has(Feature.Status) || (page.read(Reg.Config + 6, 2) & 1) !== 0;
    const mtu = features.has(Feature.Mtu) ? page.read(Reg.Config + 10, 2) : null;
    if (tries === 0 || generation === page.read(Reg.ConfigGeneration)) return { mac, linkUp, mtu };
  }
}

/** Largest size of queue `index` that is not in use; 0: there is none. */
export function queueSizeMax(page: RegisterPage, index: number): number {
  page.write(Reg.QueueSel, index);
  return page.read(Reg.QueueReady) === 0 ? page.read(Reg.QueueNumMax) : 0;
}

/** Shows the device the ring of queue `index`; false if the device refuses it. */
export function showRing(page: RegisterPage, index: number, ring: ModelRing): boolean {
  const { desc, avail, used } = ring.addresses;
  const put = (low: number, addr: number) => {
    page.write(low, addr % 0x1_0000_0000);
    page.write(low + 4, Math.floor(addr / 0x1_0000_0000));
  };
  page.write(Reg.QueueSel, index);
  page.write(Reg.QueueNum, ring.size);
  put(Reg.QueueDescLow, desc);
  put(Reg.QueueDriverLow, avail);
  put(Reg.QueueDeviceLow, used);
  page.write(Reg.QueueReady, 1);
  return page.read(Reg.QueueReady) === 1;
}
