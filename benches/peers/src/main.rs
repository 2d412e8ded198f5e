//! Makes a Markdown table and an SVG chart of what criterion has measured. `scripts/bench-table` runs it.
//!
//! `bench-table CRITERION_DIRECTORY SVG_FILE LOCK_FILE..`: the table goes to the standard output. The lock files tell the versions
//! of what was measured.

mod chart;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The groups of the table and of the chart, in their order, and what they are called there.
const SHOWN: [(&str, &str); 9] = [
    ("6 headers, empty", "Request that needs no MFA, 6 headers"),
    ("20 headers, empty", "Request that needs no MFA, 20 headers"),
    ("body of 64 KiB", "Request body of 64 KiB"),
    (
        "guard and other crates, seen token",
        "Guard, token seen before",
    ),
    (
        "guard and other crates, new token",
        "Guard, new token (RS256)",
    ),
    ("guard and other crates, expired", "Guard, expired token"),
    ("10000 waiters", "10,000 requests share one step-up, each"),
    (
        "one-time password, 3 round trips",
        "Step-up, one-time password",
    ),
    ("elevation remembered, 1 round trip", "Elevation remembered"),
];
/// What the others of a group are compared with: what a call costs without them, or the same calls made by hand.
const BASES: [&str; 3] = ["bare", "by hand", "streamed"];
/// Cases that are compared with another one, since their requests are made otherwise.
const OTHER_BASES: [(&str, &str); 3] = [
    ("tower-mfa, opted out", "bare, with a mark"),
    (
        "tower-mfa, GuardLayer, seen token",
        "bare, with a signed token",
    ),
    (
        "tower-mfa, GuardLayer and MfaLayer",
        "bare, with a signed token",
    ),
];
/// The crate that all this is about.
const OURS: &str = "tower-mfa";

struct Row {
    name: String,
    nanoseconds: f64,
}

type Groups = BTreeMap<String, Vec<Row>>;

/// A group, as it is shown.
struct Shown<'a> {
    title: &'a str,
    base: &'a Row,
    /// Ours first, then by what they cost.
    bars: Vec<Bar<'a>>,
}

struct Bar<'a> {
    name: &'a str,
    is_ours: bool,
    /// Nanoseconds over the base.
    over: f64,
    /// That by ours.
    ratio: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(criterion), Some(svg)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench-table CRITERION_DIRECTORY SVG_FILE LOCK_FILE..".into());
    };
    let mut groups = Groups::new();
    collect(&criterion, &mut groups)?;
    let shown: Vec<_> = SHOWN
        .iter()
        .filter_map(|(group, title)| show(title, groups.get(*group)?))
        .collect();
    if shown.is_empty() {
        return Err(format!("nothing was measured in {}", criterion.display()).into());
    }
    for (group, title) in SHOWN {
        if !groups.contains_key(group) {
            eprintln!("`{title}` is left out: `{group}` was not measured");
        }
    }
    print!("{}", table(&shown));
    println!("\n{}", conditions(&groups, arguments)?);
    fs::write(svg, chart::chart(&shown))?;
    Ok(())
}

/// Reads every result below a directory: `new/estimates.json` and, beside it, `new/benchmark.json`.
fn collect(directory: &Path, groups: &mut Groups) -> Result<(), Box<dyn Error>> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if !path.is_dir() {
            continue;
        }
        let benchmark = path.join("benchmark.json");
        if path.ends_with("new") && benchmark.exists() {
            let read = |path: &Path| -> Result<serde_json::Value, Box<dyn Error>> {
                Ok(serde_json::from_str(&fs::read_to_string(path)?)?)
            };
            let (benchmark, estimates) = (read(&benchmark)?, read(&path.join("estimates.json"))?);
            let text = |member: &str| benchmark[member].as_str().map(str::to_owned);
            // of many at a time, each
            let each = benchmark["throughput"]["Elements"].as_f64().unwrap_or(1.0);
            let median = estimates["median"]["point_estimate"].as_f64();
            let median = median.map(|median| median / each);
            let name = text("value_str").or_else(|| text("function_id"));
            if let (Some(group), Some(name), Some(nanoseconds)) = (text("group_id"), name, median) {
                let row = Row { name, nanoseconds };
                groups.entry(group).or_default().push(row);
            }
        } else {
            collect(&path, groups)?;
        }
    }
    Ok(())
}

fn show<'a>(title: &'a str, rows: &'a [Row]) -> Option<Shown<'a>> {
    let named = |name: &str| rows.iter().find(|row| row.name == name);
    let base = BASES.into_iter().find_map(named)?;
    let over = |row: &Row| {
        let other = OTHER_BASES.into_iter().find(|(name, _)| row.name == *name);
        let base = other.and_then(|(_, base)| named(base)).unwrap_or(base);
        row.nanoseconds - base.nanoseconds
    };
    let ours = over(named(OURS)?);
    let mut bars: Vec<_> = rows
        .iter()
        .filter(|row| {
            row.name != base.name && OTHER_BASES.iter().all(|(_, base)| row.name != *base)
        })
        .map(|row| Bar {
            name: &row.name,
            is_ours: row.name.starts_with(OURS),
            over: over(row),
            ratio: over(row) / ours,
        })
        .collect();
    bars.sort_by(|one, other| {
        let key = |bar: &Bar<'_>| (!bar.is_ours, bar.name != OURS);
        key(one)
            .cmp(&key(other))
            .then(one.over.total_cmp(&other.over))
    });
    Some(Shown { title, base, bars })
}

fn table(shown: &[Shown<'_>]) -> String {
    let mut table = String::from(
        "| | without | with tower-mfa | with others (× what tower-mfa adds) |\n| --- | --- | --- | --- |\n",
    );
    for group in shown {
        let cell = |is_ours: bool| {
            let bars = group.bars.iter().filter(|bar| bar.is_ours == is_ours);
            let texts: Vec<_> = bars.map(|bar| text(group, bar)).collect();
            texts.join(" · ")
        };
        table.push_str(&format!(
            "| {} | {} {} | {} | {} |\n",
            group.title,
            group.base.name,
            time(group.base.nanoseconds),
            cell(true),
            cell(false)
        ));
    }
    table
}

fn text(group: &Shown<'_>, bar: &Bar<'_>) -> String {
    let over = added(bar.over);
    match bar.name.strip_prefix(OURS) {
        // beside the same by hand the sum says more than the rest
        Some("") if group.base.name == "by hand" => {
            let times = 1.0 + bar.over / group.base.nanoseconds;
            format!("**{over}** ({times:.2} × by hand)")
        }
        Some("") => format!("**{over}**"),
        Some(variant) => format!("{} {over}", variant.trim_start_matches(", ")),
        None => format!("{} {over} ({})", bar.name, times(bar.ratio)),
    }
}

fn added(nanoseconds: f64) -> String {
    let sign = if nanoseconds < 0.0 { "−" } else { "+" };
    format!("{sign}{}", time(nanoseconds.abs()))
}

fn times(ratio: f64) -> String {
    match ratio {
        ratio if ratio >= 9.95 => format!("{ratio:.0} ×"),
        ratio if ratio.abs() < 0.095 => format!("{ratio:.2} ×"),
        ratio => format!("{ratio:.1} ×"),
    }
}

/// Three digits and a unit.
fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        ns if ns < 1e3 => (ns, "ns"),
        ns if ns < 1e6 => (ns / 1e3, "µs"),
        ns if ns < 1e9 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let digits = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}

/// The machine, the compiler, and the versions of what was measured.
fn conditions(
    groups: &Groups,
    lock_files: impl Iterator<Item = PathBuf>,
) -> Result<String, Box<dyn Error>> {
    let mut versions = BTreeMap::new();
    for file in lock_files {
        for package in fs::read_to_string(file)?.split("[[package]]").skip(1) {
            let member = |name: &str| {
                let line = package.lines().find(|line| line.starts_with(name))?;
                line.split('"').nth(1).map(str::to_owned)
            };
            if let (Some(name), Some(version)) = (member("name = "), member("version = ")) {
                let known: &mut String = versions.entry(name).or_default();
                // of several the newest is the one that is named; the others come with it
                if numbers(known) < numbers(&version) {
                    *known = version;
                }
            }
        }
    }
    let mut measured = BTreeMap::new();
    for row in groups.values().flatten() {
        let word = row.name.split([' ', ',']).next().unwrap_or_default();
        if let Some(version) = versions.get(word) {
            measured.insert(word, version);
        }
    }
    let measured: Vec<_> = measured
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpu.lines().find(|line| line.starts_with("model name"));
    let cpu = cpu
        .and_then(|line| line.split(": ").nth(1))
        .unwrap_or(std::env::consts::ARCH);
    let cores = std::thread::available_parallelism()?;
    let rustc = Command::new("rustc").arg("--version").output()?.stdout;
    Ok(format!(
        "Medians, each row of one run, on {cpu} ({cores} cores, {}), {}. Measured: {}.",
        std::env::consts::OS,
        String::from_utf8_lossy(&rustc).trim(),
        measured.join(", ")
    ))
}

fn numbers(version: &str) -> Vec<u64> {
    let numbers = version.split(['.', '-', '+']);
    numbers.map_while(|number| number.parse().ok()).collect()
}
