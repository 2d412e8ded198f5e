//! The chart: for each group bars of what is added, to a scale of its own.

use std::fmt::Write as _;

use crate::{Shown, added, times};

const WIDTH: f64 = 880.0;
const NAME: f64 = 285.0;
const LABEL: f64 = 130.0;
const LINE: f64 = 20.0;

pub(crate) fn chart(shown: &[Shown<'_>]) -> String {
    let mut bars = String::new();
    let mut y = 1.4 * LINE;
    let _ = writeln!(
        bars,
        r#"<text x="8" y="{y}" class="key">What a layer adds to a call: <tspan class="ours">tower-mfa</tspan> and others, each group to a scale of its own</text>"#
    );
    // a bar that is alone tells nothing
    let is_alone = |group: &&Shown<'_>| group.bars.iter().all(|bar| bar.is_ours);
    for group in shown.iter().filter(|group| !is_alone(group)) {
        y += 1.6 * LINE;
        let title = escaped(group.title);
        let _ = writeln!(bars, r#"<text x="8" y="{y}" class="group">{title}</text>"#);
        y += 0.4 * LINE;
        let longest = group.bars.iter().map(|bar| bar.over).fold(1.0, f64::max);
        for bar in &group.bars {
            // never nothing, so that it can be seen
            let length = ((WIDTH - NAME - LABEL) * bar.over / longest).max(1.0);
            let class = if bar.is_ours { "ours" } else { "other" };
            let label = match bar.is_ours {
                true => added(bar.over),
                false => format!("{}, {}", added(bar.over), times(bar.ratio)),
            };
            let middle = y + 0.72 * LINE;
            let _ = writeln!(
                bars,
                r#"<text x="{right}" y="{middle:.1}" text-anchor="end">{name}</text><rect x="{NAME}" y="{top:.1}" width="{length:.1}" height="{height}" class="{class}"/><text x="{end:.1}" y="{middle:.1}">{label}</text>"#,
                right = NAME - 8.0,
                name = escaped(bar.name),
                top = y + 3.0,
                height = LINE - 6.0,
                end = NAME + length + 6.0,
            );
            y += LINE;
        }
    }
    let height = y + 0.6 * LINE;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">
<style>text{{fill:#333}}.key{{font-size:14px}}.group{{font-weight:bold}}.ours{{fill:#c8501e}}.other{{fill:#9aa7b4}}</style>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
{bars}</svg>
"##
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
