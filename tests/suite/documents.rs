//! The pages of the documentation: where their links lead, and the site that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::checkout;

/// Returns all pages with their texts.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut pages = BTreeMap::new();
    for folder in ["", "docs", "docs/decisions"] {
        for entry in fs::read_dir(checkout().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "md") {
                pages.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    pages
}

/// Returns the lines of a page outside of its fenced blocks.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut in_block = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        in_block ^= is_fence;
        !in_block && !is_fence
    })
}

fn links(text: &str) -> Vec<&str> {
    let ends = |line| str::split(line, "](").skip(1).filter_map(|rest| rest.split_once(')'));
    lines(text).flat_map(ends).map(|(link, _)| link).collect()
}

/// Returns the names of a page's headings, as sites make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = lines(text).filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let name = |heading: &str| {
        let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    };
    headings.map(name).collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let mut broken = Vec::new();
    for (page, text) in &pages {
        for link in links(text).into_iter().filter(|link| !link.contains("://")) {
            let (path, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                _ => page.parent().unwrap().join(path),
            };
            let Ok(target) = target.canonicalize() else {
                broken.push(format!("{}: {link}", page.display()));
                continue;
            };
            let has_place = || pages.get(&target).is_none_or(|text| anchors(text).contains(place));
            if !place.is_empty() && !has_place() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_site_has_every_page() {
    let summary = fs::read_to_string(checkout().join("fixtures/site/SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> =
        links(&summary).iter().map(|link| checkout().join(link)).collect();
    // The site lists the decisions by itself.
    let decisions = checkout().join("docs/decisions");
    let is_listed = |page: &Path| listed.contains(page) || page.starts_with(&decisions);
    let missing: Vec<PathBuf> = pages().into_keys().filter(|page| !is_listed(page)).collect();
    assert!(missing.is_empty(), "not in fixtures/site/SUMMARY.md: {missing:?}");
}
