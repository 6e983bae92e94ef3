/**
 * Lines on standard output: a disk that is full is an error with words, not a stack trace.
 *
 * Path: bench, natctl, scenario → print.
 *
 * For programs that have nothing else to do while a reader takes its time; a netd that runs has devices/host/output.
 *
 * @module
 */

/** Standard output takes no more. */
export class PrintError extends Error {
  override readonly name = "PrintError";
}

/** Prints a line. Throws {@link PrintError}. */
export function print(line: string): void {
  try {
    console.log(line);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    throw new PrintError(`Cannot write to standard output: ${error.message}`);
  }
}
