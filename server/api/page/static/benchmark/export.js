// A benchmark as the lines of JSON that `ownware bench report` and `ownware bench recommend` read.
//
// `benchmarks/step_caches/results.py` says what a line has. What a browser cannot know is null: the seconds of the loop
// alone, memory, FLIP. tests/browser/test_benchmark.py reads a file with that module.

import { getReceipt } from "../api.js";
import { withNumbers } from "../exact.js";
import { PSNR_OF_EQUALS } from "../likeness.js";
import { withEvaluations } from "../receipts.js";
import { REFERENCE } from "./plan.js";
import { byPrompt, scoresOf } from "./scores.js";

/**
 * The `lines` as one text, and how many results are `missing` in it: those whose receipts the server has forgotten, and
 * caches that could not act.
 */
export async function exportLines(run) {
  const answers = await Promise.all(measurementsOf(run).map(async (measured) => ({ measured, answer: await getReceipt(measured.task.imageUUID) })));
  const known = answers.filter(({ measured, answer }) => answer && (measured.kind !== "cache" || answer.cache));
  const lines = known.map(({ measured, answer }) => `${withNumbers(JSON.stringify(line(run.common, measured, answer)))}\n`);
  return { lines: lines.join(""), missing: answers.length - known.length };
}

/**
 * What was measured, of each prompt: each setting, and the reference once more, which tells how far equal runs vary.
 * Each of the `runs` has the run of the reference that was nearest in time among its `twins`.
 */
function measurementsOf(run) {
  const references = byPrompt(run, REFERENCE);
  const settings = run.settings.flatMap((setting) => {
    const own = byPrompt(run, setting.name);
    return (scoresOf(run, setting)?.pairs ?? []).map(({ prompt, task }) => {
      const place = run.prompts.indexOf(prompt);
      return { ...describe(setting), prompt, task, runs: own[place], twins: own[place].map((one) => nearest(references[place], one)) };
    });
  });
  const again = references.flatMap((tasks, place) => {
    const task = tasks.find(({ likeness }) => likeness);
    return task ? [{ ...UNCACHED, prompt: run.prompts[place], task, runs: tasks.slice(1), twins: tasks.slice(0, -1) }] : [];
  });
  return [...again, ...settings];
}

const UNCACHED = { kind: "uncached", name: "uncached, once more", family: "uncached", knobs: {} };

const nearest = (tasks, { round }) => tasks.reduce((best, task) => (Math.abs(task.round - round) < Math.abs(best.round - round) ? task : best));

/** A setting by the names that the command has for it. */
function describe({ name, family, change }) {
  if (family === "steps") return { kind: "fewer_steps", name: `${change.steps} steps`, family: "fewer steps", knobs: change };
  return { kind: "cache", name, family, knobs: change.acceleratorOptions };
}

function line({ model, width, height, seed, steps }, { kind, name, family, knobs, prompt, task, runs, twins }, { receipt, cache }) {
  const place = { model, weights: receipt.model.digest, device: receipt.device, dtype: receipt.dtype, width, height };
  const decisions = withEvaluations(cache?.forwards ?? []).map(({ step, evaluation, branch, reason, distance, score }) => ({ step, evaluation, branch, reason, distance, score }));
  const { psnr, ssim } = task.likeness;
  return {
    case: { place, prompt, references: [], seed, steps, kind, executed: task.steps, plan: receipt.request.cache },
    name,
    family,
    knobs,
    on_wire: kind === "cache",
    words: [],
    runs: runs.map(cost),
    twins: twins.map(cost),
    likeness: { psnr: round(psnr, 3), ssim: round(ssim, 5), flip: psnr === PSNR_OF_EQUALS ? 0 : null, read: null, twin_read: null },
    decisions,
    versions: receipt.versions,
    date: new Date(task.ended).toISOString(),
  };
}

const cost = ({ seconds }) => ({ loop: null, request: seconds, peak_mib: null, host_reads: null });
const round = (value, digits) => Number(value.toFixed(digits));
