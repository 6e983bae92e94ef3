/**
 * Counters of a virtio network card: each frame that is not delivered is in exactly one of them.
 *
 * Path: net, net_rx, net_tx → net_counters.
 *
 * @module
 */

/** Counters of one card. tx counts frames from the guest, rx frames to it. */
export class NetCounters {
  /** Frames handed on. */
  txFrames = 0;
  /** Bytes of them. */
  txBytes = 0;
  /** Shorter than an Ethernet header: dropped. */
  txShort = 0;
  /** Longer than allowed: dropped. */
  txLong = 0;
  /** The header asks for a feature that was not negotiated: dropped. */
  txNotNegotiated = 0;
  /** The header does not fit the frame: dropped. */
  txBadHeader = 0;
  /** The link is down: dropped. */
  txLinkDown = 0;
  /** Frames the guest got. */
  rxFrames = 0;
  /** Bytes of them. */
  rxBytes = 0;
  /** Not accepted by the guest's filter: dropped. */
  rxFiltered = 0;
  /** There is no driver, or it must reset the card: refused. */
  rxNotReady = 0;
  /** The link is down: refused. */
  rxLinkDown = 0;
  /** The guest has offered too few buffers: refused. */
  rxNoBuffers = 0;
  /** Longer than the buffers or the MTU: refused. */
  rxLong = 0;
  /** A segment that the guest does not take uncut: refused. */
  rxMustCut = 0;
  /** Not a frame, or its metadata are wrong: refused. */
  rxBadFrame = 0;
  /** Checksums that were finished here for the guest. */
  rxChecksums = 0;
  /** Commands of the control queue that were run, and refused. */
  ctrlDone = 0;
  /** Commands that were refused. */
  ctrlRefused = 0;
}
