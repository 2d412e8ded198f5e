//! What the crate costs in counts that do not depend on the machine: instructions by callgrind, and allocations. It prints a table
//! of each case beside its targets; with `--check` it fails where a figure is worse than it has been by more than [`SLACK`]. Without valgrind it
//! counts allocations only. `scripts/instructions` runs it.
//!
//! Each case is run by valgrind twice, the second time with more calls: the difference is what the calls have cost, without the
//! start of the process and the setting up. What the same calls cost without the thing that is measured is taken off.
#![allow(unsafe_code, reason = "an allocator cannot be written without")]
#![expect(
    clippy::expect_used,
    reason = "a measurement that cannot be set up has nothing to tell"
)]

mod guard;
#[path = "../issuer/mod.rs"]
mod issuer;
mod passthrough;
mod replay;
mod suite;
#[path = "../support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::process::{Command, ExitCode, Stdio};

use suite::{Case, Limit, Of, Suite};

/// How far a limit may be missed, since counts repeat within some percent only: hash seeds differ, and addresses.
const SLACK: f64 = 1.05;
/// How many calls the two runs of a case differ by, and how many come first in both.
const CALLS: u64 = 500;
const FIRST: u64 = 100;

/// Tells a process that runs in valgrind of its case, and of the number of calls.
const CASE: &str = "INSTRUCTIONS_CASE";
const NUMBER: &str = "INSTRUCTIONS_CALLS";

/// Every suite of cases. A further one is a module beside `passthrough`, and an element here.
fn suites() -> Vec<Suite> {
    vec![passthrough::suite(), replay::suite(), guard::suite()]
}

/// Counts, at the cost of two instructions for each allocation; `System` does the work.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // while a thread ends there is nothing to count
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

// SAFETY: hands everything on to the system's allocator, and counts in a cell that never allocates
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What a call costs.
#[derive(Clone, Copy)]
struct Cost {
    instructions: Option<f64>,
    allocations: f64,
}

fn main() -> ExitCode {
    let suites = suites();
    if let Ok(name) = std::env::var(CASE) {
        let calls = std::env::var(NUMBER)
            .ok()
            .and_then(|calls| calls.parse().ok());
        let case = suites
            .iter()
            .flat_map(|suite| &suite.cases)
            .find(|case| case.name == name)
            .expect("a case of this name");
        (case.run)(calls.expect("a number of calls"));
        return ExitCode::SUCCESS;
    }
    let has_valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_valgrind {
        println!("SKIPPED: instructions are counted by valgrind, which is not here");
    }
    let worse: usize = suites
        .iter()
        .map(|suite| measure(suite, has_valgrind))
        .sum();
    let is_check = std::env::args().any(|argument| argument == "--check");
    if is_check && worse > 0 {
        println!("{worse} figures are worse than they have been, by more than 5 %");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Prints the table of a suite, and gives the number of figures that are worse than they may be.
fn measure(suite: &Suite, has_valgrind: bool) -> usize {
    let costs: HashMap<&str, Cost> = suite
        .cases
        .iter()
        .map(|case| {
            let instructions = has_valgrind.then(|| instructions(case));
            let cost = Cost {
                instructions,
                allocations: allocations(case),
            };
            (case.name, cost)
        })
        .collect();
    let over = |case: &Case| {
        let cost = costs[case.name];
        let bare = costs[case.over];
        Cost {
            instructions: cost
                .instructions
                .zip(bare.instructions)
                .map(|(all, bare)| all - bare),
            allocations: cost.allocations - bare.allocations,
        }
    };
    let named = |name: &str| {
        let case = suite.cases.iter().find(|case| case.name == name);
        over(case.expect("a case of this name"))
    };
    println!("\n## {}\n", suite.name);
    println!("| over the bare case, for each call | instructions | allocations | targets |");
    println!("| --- | ---: | ---: | --- |");
    let mut worse = 0;
    for case in suite.cases.iter().filter(|case| case.name != case.over) {
        let cost = over(case);
        let mut verdicts = Vec::new();
        for limit in &case.limits {
            let Limit { of, target, held } = *limit;
            let (text, is) = match of {
                Of::Allocations => (format!("≤ {target} allocations"), Some(cost.allocations)),
                Of::Count => (format!("≤ {target} instructions"), cost.instructions),
                Of::Instructions(other) => {
                    let others = named(other).instructions;
                    let ratio = cost
                        .instructions
                        .zip(others)
                        .map(|(this, other)| this / other);
                    let is = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}, "));
                    (format!("{is}≤ {target:.2} × {other}"), ratio)
                }
            };
            // a few hundredths of an allocation are some at the beginning
            let within = |is: f64, limit: f64| is <= limit * SLACK + 0.02;
            verdicts.push(match is {
                None => format!("{text}: not counted"),
                Some(is) if within(is, target) => format!("{text}: met"),
                Some(is) if within(is, held) => format!("{text}: not met, held at {held:.2}"),
                Some(_) => {
                    worse += 1;
                    format!("{text}: **worse than {held:.2}**")
                }
            });
        }
        let instructions = cost
            .instructions
            .map_or_else(|| "—".to_owned(), |count| format!("{count:.0}"));
        println!(
            "| {} | {instructions} | {:.1} | {} |",
            case.name,
            cost.allocations,
            verdicts.join("; ")
        );
    }
    worse
}

/// What a call of a case allocates in steady state.
fn allocations(case: &Case) -> f64 {
    let count = |calls| {
        let before = ALLOCATIONS.get();
        (case.run)(calls);
        ALLOCATIONS.get() - before
    };
    // the first time, a thread has no buffers yet
    count(FIRST);
    let first = count(FIRST);
    let all = count(FIRST + CALLS);
    (all as f64 - first as f64) / CALLS as f64
}

/// How many instructions a call of a case takes in steady state.
fn instructions(case: &Case) -> f64 {
    let first = callgrind(case, FIRST);
    let all = callgrind(case, FIRST + CALLS);
    (all as f64 - first as f64) / CALLS as f64
}

/// How many instructions a process takes that makes so many calls.
fn callgrind(case: &Case, calls: u64) -> u64 {
    let this = std::env::current_exe().expect("the path of this program");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(this)
        .env(CASE, case.name)
        .env(NUMBER, calls.to_string())
        .output()
        .expect("valgrind");
    let report = String::from_utf8_lossy(&output.stderr);
    let collected = report
        .lines()
        .find_map(|line| line.split_once("Collected :"))
        .and_then(|(_, count)| count.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => count,
        _ => panic!("valgrind failed at `{}`:\n{report}", case.name),
    }
}
