/**
 * The property-test library. deno.json names this file and not the package: Deno fetches every package that an import
 * map names, so that each program would fetch this one, too, and would not start where it cannot be had.
 *
 * @module
 */

export * from "npm:fast-check@4.10.2";
export { default } from "npm:fast-check@4.10.2";
