/**
 * A network namespace of one's own, for `netd run`: made without root, below a user namespace in which the caller is
 * root, and gone when its last program has ended.
 *
 * Path: netd → own_namespace → Linux.
 *
 * A program that waits for the end of its standard input keeps the namespaces while netd sets up the network; the
 * command enters them by nsenter(1), so that it has the caller's terminal and its own exit status.
 *
 * @module
 */

import { EPERM, HostError } from "../../devices/host/libc.ts";

/**
 * What keeps the namespaces: it says when they are there, and ends with its standard input. The command is alone on its
 * link: it uses its IPv6 addresses at once, without the second in which Linux looks for another station that has them.
 */
const KEEPER = `
echo 0 2>/dev/null > /proc/sys/net/ipv6/conf/default/accept_dad
echo ready
exec cat
`;

/**
 * Gives the command names by the guest's name server: a resolv.conf of its own, bound over the machine's in the private
 * mount namespace. It is made on a tmpfs that covers /tmp for a moment.
 */
const ENTER = `
bind_names() {
  file=$(readlink -f /etc/resolv.conf) && [ -f "$file" ] || return 0
  mount -t tmpfs tmpfs /tmp && printf '%s\\n' "$0" > /tmp/resolv.conf &&
    mount --bind /tmp/resolv.conf "$file" && umount /tmp
}
bind_names || echo "netd: warning: resolv.conf stays that of the machine" >&2
if [ $# -eq 0 ]; then set -- "\${SHELL:-/bin/sh}"; fi
exec "$@"
`;

/** Signals' numbers, for the exit status of a command that one has ended: 128 and the number, as shells have it. */
const SIGNAL_STATUS = 128;
const SIGNAL_NUMBERS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGPIPE: 13, SIGTERM: 15 };

/** The namespaces: user, network and mount. */
export class OwnNamespace implements AsyncDisposable {
  readonly #keeper: Deno.ChildProcess;
  #command: Deno.ChildProcess | null = null;

  private constructor(keeper: Deno.ChildProcess) {
    this.#keeper = keeper;
  }

  /** Makes them. Throws HostError: EPERM, with the reason, where the machine does not let its users. */
  static async make(): Promise<OwnNamespace> {
    const keeper = new Deno.Command("unshare", {
      args: ["--user", "--map-root-user", "--net", "--mount", "sh", "-c", KEEPER],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const said = new Response(keeper.stderr).text();
    const reader = keeper.stdout.getReader();
    const { done } = await reader.read();
    reader.releaseLock();
    await keeper.stdout.cancel();
    if (done) {
      await keeper.stdin.close();
      await keeper.status;
      throw new HostError("Cannot make a namespace", EPERM, {
        reason: (await said).trim(),
        hint: "the machine's administrator can let users make them: see user.max_user_namespaces, " +
          "kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns",
      });
    }
    return new OwnNamespace(keeper);
  }

  /** The process that keeps them. */
  get pid(): number {
    return this.#keeper.pid;
  }

  /**
   * Runs `command` in them, with this program's standard input, output and error, and `resolvConf` as its resolv.conf;
   * an empty one is the user's shell. Settles with its exit status.
   */
  async run(command: readonly string[], resolvConf: string): Promise<number> {
    const target = ["--preserve-credentials", "--user", "--net", "--mount", `--target=${this.pid}`];
    this.#command = new Deno.Command("nsenter", {
      args: [...target, "sh", "-c", ENTER, resolvConf, ...command],
      stdin: "inherit",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
    const { code, signal } = await this.#command.status;
    this.#command = null;
    return signal === null ? code : SIGNAL_STATUS + (SIGNAL_NUMBERS[signal] ?? 0);
  }

  /** Passes a signal to the command. */
  signal(signal: Deno.Signal): void {
    try {
      this.#command?.kill(signal);
    } catch (error) {
      // It has ended.
      if (!(error instanceof TypeError)) throw error;
    }
  }

  /** Lets go of them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper.stdin.close();
    await this.#keeper.status;
  }
}
