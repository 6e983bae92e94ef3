/**
 * What happened on a virtio network card: each frame that does not get through is in exactly one of these.
 *
 * Path: net, net_rx, net_tx → net_counters.
 *
 * @module
 */

/** Counters of one card. tx is what the guest sends, rx what it gets. */
export class NetCounters {
  /** Frames handed on. */
  txFrames = 0;
  /** Bytes of them. */
  txBytes = 0;
  /** Shorter than an Ethernet header: dropped. */
  txShort = 0;
  /** Longer than what may be sent: dropped. */
  txLong = 0;
  /** The header asks for what was not agreed on: dropped. */
  txNotNegotiated = 0;
  /** The header does not fit the frame: dropped. */
  txBadHeader = 0;
  /** The link is down: dropped. */
  txLinkDown = 0;
  /** Frames the guest got. */
  rxFrames = 0;
  /** Bytes of them. */
  rxBytes = 0;
  /** The guest's filter does not want it: dropped. */
  rxFiltered = 0;
  /** No driver is there, or it is to reset the card: refused. */
  rxNotReady = 0;
  /** The link is down: refused. */
  rxLinkDown = 0;
  /** The guest has offered too few buffers: refused. */
  rxNoBuffers = 0;
  /** Longer than the buffers or the MTU: refused. */
  rxLong = 0;
  /** To be cut, and the guest does not take it uncut: refused. */
  rxMustCut = 0;
  /** No frame, or its metadata are wrong: refused. */
  rxBadFrame = 0;
  /** Of those the guest got: checksums that had to be finished here. */
  rxChecksums = 0;
  /** Commands of the control queue that were done, and refused. */
  ctrlDone = 0;
  /** Commands that were refused. */
  ctrlRefused = 0;
}
