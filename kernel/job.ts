/**
 * Jobs: work that must wait its turn, so that no layer re-enters itself and no step awaits.
 *
 * Path: time, loopback_queue, cable → job.
 *
 * The owner makes a Job once and wakes it whenever there is work; waking a job that already waits costs nothing.
 *
 * @module
 */

/** Most jobs that one `run` executes: a loop of packets between two kernels must not block the program for ever. */
export const JOBS_PER_RUN_MAX = 100_000;

/** A piece of work that can be queued again and again. */
export class Job {
  #waiting = false;
  #queue: JobQueue;
  #work: () => void;

  /** A job of `queue`; `work` runs once for each time that it was woken. */
  constructor(queue: JobQueue, work: () => void) {
    this.#queue = queue;
    this.#work = work;
  }

  /** Queues the work; does nothing if it already waits. */
  wake(): void {
    if (this.#waiting) return;
    this.#waiting = true;
    this.#queue.push(this);
  }

  /** For the queue: does the work now. */
  execute(): void {
    this.#waiting = false;
    this.#work();
  }
}

/** Jobs in the order in which they were woken. */
export class JobQueue {
  #waiting: Job[] = [];
  #running = false;
  /** Called when work appears outside of `run`, so that a driver can arm itself. */
  onWork: (() => void) | null = null;

  /** Whether some job waits. */
  get pending(): boolean {
    return this.#waiting.length > 0;
  }

  /** For {@link Job.wake}. */
  push(job: Job): void {
    this.#waiting.push(job);
    if (!this.#running && this.onWork !== null) this.onWork();
  }

  /** Runs waiting jobs, and those that they wake, in order; returns how many. Calls from inside a job do nothing. */
  run(): number {
    if (this.#running || this.#waiting.length === 0) return 0;
    this.#running = true;
    let done = 0;
    try {
      while (this.#waiting.length > 0 && done < JOBS_PER_RUN_MAX) {
        const batch = this.#waiting;
        this.#waiting = [];
        done += this.#runBatch(batch);
      }
    } finally {
      this.#running = false;
    }
    return done;
  }

  /** Runs the jobs of `batch`; if one throws, those behind it wait for the next run. */
  #runBatch(batch: readonly Job[]): number {
    let done = 0;
    try {
      for (const job of batch) {
        done++;
        job.execute();
      }
    } finally {
      if (done < batch.length) this.#waiting = [...batch.slice(done), ...this.#waiting];
    }
    return done;
  }
}
