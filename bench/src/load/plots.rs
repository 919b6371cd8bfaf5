//! Plots of a run of the referee, as SVG: a line for each contestant.

use std::ops::Range;

use anyhow::Result;
use hdrhistogram::Histogram;
use plotters::prelude::{
    BLACK, ChartBuilder, Circle, IntoDrawingArea, IntoLogRange, LineSeries, PathElement,
    SVGBackend, WHITE,
};
use plotters::style::{Color, Palette, Palette99};

use super::referee::CellResult;
use super::{Slice, new_histogram};

/// Of each plot, in pixels.
const SIZE: (u32, u32) = (640, 360);

/// What a plot shows of latencies: from the middle to one in a hundred thousand, by how many of so
/// many are slower.
const ONE_IN: [f64; 11] =
    [2.0, 4.0, 10.0, 20.0, 50.0, 100.0, 200.0, 1_000.0, 2_000.0, 10_000.0, 100_000.0];

pub(crate) type Line = Vec<(f64, f64)>;

/// Figures round by round, each with its name.
pub(crate) type Series = Vec<(String, Vec<f64>)>;

/// What only several cells together show, each with its title: throughput against latency of the cells that ask the same
/// with more or less under way, the curve of read ratios, and memory after each cell.
pub(crate) fn over_cells(results: &[CellResult]) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let Some(first) = results.first() else { return Ok(found) };
    let names = &first.names;
    let lines = |cells: &[&CellResult], point: &dyn Fn(&CellResult, usize) -> (f64, f64)| {
        let line = |at| {
            let mut line: Line = cells.iter().map(|cell| point(cell, at)).collect();
            line.sort_by(|one, other| one.0.total_cmp(&other.0));
            line
        };
        (0..names.len()).map(line).collect::<Vec<Line>>()
    };
    let rate = |cell: &CellResult, at: usize| cell.figure(at, |it| it.slice.rate()).median;
    let mut families: Vec<&str> = results.iter().map(|it| family(it)).collect();
    families.dedup();
    for name in families {
        let cells: Vec<&CellResult> = results.iter().filter(|it| family(it) == name).collect();
        if cells.len() < 2 {
            continue;
        }
        let (title, caption, lines, across) = if cells[0].cell.percent_of_curve().is_some() {
            let percent =
                |cell: &CellResult| f64::from(cell.cell.percent_of_curve().unwrap_or_default());
            let lines = lines(&cells, &|cell, at| (percent(cell), rate(cell, at)));
            let title = "Operations a second by share of reads";
            (title.to_owned(), "operations a second, by percent of reads", lines, 0.0..100.0)
        } else {
            let p99 =
                |cell: &CellResult, at| cell.figure(at, |it| it.slice.quantile_us(0.99)).median;
            let lines = lines(&cells, &|cell, at| (rate(cell, at).max(1.0).log10(), p99(cell, at)));
            let across = across(&lines);
            let caption = "p99 in \u{b5}s at 10^x operations a second";
            (format!("{name}: throughput and latency"), caption, lines, across)
        };
        found.push((title, plot(caption, names, &lines, across)?));
    }
    let memory = |at: usize| {
        let megabytes =
            |cell: &CellResult| cell.figure(at, |it| it.resident_bytes as f64 / 1e6).max;
        let numbered = results.iter().zip(1..);
        numbered.map(|(cell, number)| (f64::from(number), megabytes(cell))).collect()
    };
    let lines: Vec<Line> = (0..names.len()).map(memory).collect();
    let across = 0.0..(results.len() + 1) as f64;
    let plot = plot("MB resident, by cell in the order of the table", names, &lines, across)?;
    found.push(("Memory that is resident after each cell".to_owned(), plot));
    Ok(found)
}

/// What a cell asks, without how much is under way.
fn family(result: &CellResult) -> &'static str {
    result.cell.name.split('-').next().unwrap_or_default()
}

/// All points of the lines, with some room.
fn across(lines: &[Line]) -> Range<f64> {
    let values = || lines.iter().flatten().map(|&(value, _)| value);
    values().fold(f64::MAX, f64::min) - 0.2..values().fold(f64::MIN, f64::max) + 0.2
}

/// Operations a second, round by round.
pub(crate) fn rates(result: &CellResult) -> Result<String> {
    let lines: Vec<Line> = (0..result.names.len())
        .map(|at| {
            let rates = result.rounds.iter().map(|round| round[at].slice.rate());
            rates.enumerate().map(|(round, rate)| ((round + 1) as f64, rate)).collect()
        })
        .collect();
    let across = 0.0..(result.rounds.len() + 1) as f64;
    plot("operations a second, by round", &result.names, &lines, across)
}

/// How slow one in so many is, in microseconds, over all rounds.
pub(crate) fn latencies(result: &CellResult) -> Result<String> {
    let all = |at: usize| slower_than(result.rounds.iter().map(|round| &round[at].slice));
    let lines: Vec<Line> = (0..result.names.len()).map(all).collect();
    of_latencies(&result.names, &lines)
}

/// The same of any slices, a line for each of `names`.
pub(crate) fn of_latencies(names: &[String], lines: &[Line]) -> Result<String> {
    plot("\u{b5}s that one in 10^x takes longer than", names, lines, 0.0..5.0)
}

/// The line of what all of these slices saw.
pub(crate) fn slower_than<'a>(slices: impl Iterator<Item = &'a Slice>) -> Line {
    let mut all: Histogram<u64> = new_histogram();
    for slice in slices {
        all.add(&slice.reads).expect("all have the same bounds");
        all.add(&slice.writes).expect("all have the same bounds");
    }
    let seen = ONE_IN.iter().filter(|&&one_in| one_in <= all.len() as f64);
    let point = |one_in: &f64| {
        let us = all.value_at_quantile(1.0 - 1.0 / one_in) as f64 / 1e3;
        (one_in.log10(), us)
    };
    seen.map(point).collect()
}

/// Any figures, round by round.
pub(crate) fn by_round(caption: &str, series: &Series) -> Result<String> {
    let line = |figures: &Vec<f64>| {
        let numbered = figures.iter().zip(1..);
        numbered.map(|(&figure, round)| (f64::from(round), figure)).collect::<Line>()
    };
    let (names, lines): (Vec<String>, Vec<Line>) =
        series.iter().map(|(name, figures)| (name.clone(), line(figures))).unzip();
    let most = series.iter().map(|(_, figures)| figures.len()).max().unwrap_or(0);
    plot(caption, &names, &lines, 0.0..(most + 1) as f64)
}

/// One line for each contestant; upwards is logarithmic.
pub(crate) fn plot(
    caption: &str,
    names: &[String],
    lines: &[Line],
    across: Range<f64>,
) -> Result<String> {
    // What is not above nothing has no place on a logarithmic scale.
    let has_place = |(_, value): &&(f64, f64)| 0.0 < *value && value.is_finite();
    let values = || lines.iter().flatten().filter(has_place).map(|&(_, value)| value);
    let (mut least, mut most) = (values().fold(f64::MAX, f64::min), values().fold(0.0, f64::max));
    if values().next().is_none() {
        (least, most) = (1.0, 1.0); // an empty plot says that nothing was seen
    }
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(caption, ("sans-serif", 16))
            .margin(8)
            .x_label_area_size(28)
            .y_label_area_size(72)
            .build_cartesian_2d(across, (least / 1.5..most * 1.5).log_scale())?;
        chart.configure_mesh().light_line_style(WHITE).draw()?;
        for (at, (name, line)) in names.iter().zip(lines).enumerate() {
            let color = Palette99::pick(at).to_rgba();
            let shown: Vec<(f64, f64)> = line.iter().filter(has_place).copied().collect();
            chart
                .draw_series(LineSeries::new(shown.iter().copied(), color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
            let points = shown.iter().map(|&point| Circle::new(point, 3, color.filled()));
            chart.draw_series(points)?;
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
        area.present()?;
    }
    Ok(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_place_on_the_scale_is_left_out_of_a_plot() {
        let series = |figures: &[f64]| vec![("us".to_owned(), figures.to_vec())];
        let circles = |figures: &[f64]| {
            let plot = by_round("ms", &series(figures)).expect("a plot");
            plot.matches("<circle").count()
        };
        assert_eq!(circles(&[3.0, 4.0, 5.0]), 3);
        assert_eq!(circles(&[3.0, 0.0, f64::NAN, 5.0]), 2);
        assert_eq!(circles(&[0.0, f64::INFINITY]), 0);
    }
}
