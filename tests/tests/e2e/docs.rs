//! The Markdown pages: links lead somewhere, commands exist, lines and cells are short, and the
//! Chinese README says the same as the English one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use primepool_tests::{Binary, workspace};

/// Widest line of prose, in characters.
const WIDTH: usize = 100;

/// Most words in a cell of a table.
const CELL_WORDS: usize = 25;

/// Every Markdown page of the repository, by its path in it.
fn pages() -> BTreeMap<PathBuf, String> {
    let listed = Command::new("git")
        .args(["ls-files", "*.md"])
        .current_dir(workspace())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let pages: BTreeMap<_, _> = listed
        .lines()
        .map(|path| {
            let text = fs::read_to_string(workspace().join(path)).unwrap();
            (PathBuf::from(path), text)
        })
        .collect();
    assert!(pages.len() > 10, "{:?}", pages.keys());
    pages
}

/// A line of a page outside of fenced blocks, or a fenced block with its language.
enum Part<'a> {
    Line(usize, &'a str),
    Block(&'a str, Vec<&'a str>),
}

fn parts(text: &str) -> Vec<Part<'_>> {
    let (mut parts, mut block) = (Vec::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        match (&mut block, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => block = Some((language.trim(), Vec::new())),
            (None, None) => parts.push(Part::Line(number, line)),
            (Some(_), Some(_)) => {
                let (language, lines) = block.take().unwrap();
                parts.push(Part::Block(language, lines));
            }
            (Some((_, lines)), None) => lines.push(line),
        }
    }
    assert!(block.is_none(), "a fenced block has no end");
    parts
}

/// Headings with their level.
fn headings(text: &str) -> Vec<(usize, &str)> {
    let heading = |part| match part {
        Part::Line(_, line) if line.starts_with('#') => {
            let title = line.trim_start_matches('#');
            Some((line.len() - title.len(), title.trim()))
        }
        _ => None,
    };
    parts(text).into_iter().filter_map(heading).collect()
}

/// The anchors that GitHub gives to the headings of a page.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (_, title) in headings(text) {
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let unused = (1..).map(|n| format!("{anchor}-{n}"));
        let mut candidates = std::iter::once(anchor.clone()).chain(unused);
        let anchor = candidates.find(|anchor| !all.contains(anchor)).unwrap();
        all.insert(anchor);
    }
    all
}

/// The targets of links and pictures in a line.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](")
        .skip(1)
        .filter_map(|rest| Some(rest.split_once(')')?.0))
}

#[test]
fn links_lead_to_files_and_headings() {
    let pages = pages();
    let mut wrong = Vec::new();
    for (path, text) in &pages {
        for part in parts(text) {
            let Part::Line(number, line) = part else {
                continue;
            };
            for link in links(line).filter(|link| !link.contains("://")) {
                let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
                let target = match file {
                    "" => path.clone(),
                    file => normal(&path.parent().unwrap_or(Path::new("")).join(file)),
                };
                let leads = workspace().join(&target).exists()
                    && (anchor.is_empty() || anchors(&pages[&target]).contains(anchor));
                if !leads {
                    wrong.push(format!("{}:{number}: {link}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = Vec::new();
    for part in path.components() {
        match part.as_os_str().to_str().unwrap() {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().collect()
}

#[test]
fn lines_and_cells_are_short() {
    let mut wrong = Vec::new();
    for (path, text) in pages() {
        for part in parts(&text) {
            let Part::Line(number, line) = part else {
                continue;
            };
            let place = format!("{}:{number}", path.display());
            if line.starts_with('|') {
                // An escaped bar is part of a cell.
                let text = line.replace("\\|", " ");
                let longest = text.split('|').map(|cell| cell.split_whitespace().count());
                if longest.max() > Some(CELL_WORDS) {
                    wrong.push(format!("{place}: a cell of more than {CELL_WORDS} words"));
                }
            } else if line.chars().map(columns).sum::<usize>() > WIDTH && line.contains(' ') {
                // A picture with its description is one word for Markdown.
                if !line.starts_with("![") {
                    wrong.push(format!("{place}: wider than {WIDTH} columns"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Columns of a character on a terminal: two for Chinese.
fn columns(character: char) -> usize {
    1 + usize::from(('\u{2e80}'..='\u{ffef}').contains(&character))
}

/// Help texts of programs and their subcommands, by the words that ask for them.
#[derive(Default)]
struct Helps(BTreeMap<Vec<String>, String>);

impl Helps {
    fn of(&mut self, program: Binary, words: &[String]) -> &str {
        self.0.entry(words.to_vec()).or_insert_with(|| {
            let mut command = program.command();
            let output = command.args(&words[1..]).arg("--help").output().unwrap();
            assert!(output.status.success(), "{words:?}");
            String::from_utf8(output.stdout).unwrap()
        })
    }
}

fn program(word: &str) -> Option<Binary> {
    Some(match word.rsplit('/').next()? {
        "producer" => Binary::Producer,
        "consumer" => Binary::Consumer,
        "experiment" => Binary::Experiment,
        "primepool" => Binary::Monitor,
        _ => return None,
    })
}

/// What is wrong with a command of a shell block.
fn fault(command: &str, helps: &mut Helps, targets: &BTreeSet<String>) -> Option<String> {
    let words: Vec<&str> = command
        .split_whitespace()
        .skip_while(|word| word.contains('='))
        .collect();
    let compose = ["docker", "compose", "run", "--rm"];
    let words = words.strip_prefix(&compose[..]).unwrap_or(&words);
    let (first, rest) = words.split_first()?;
    if *first == "make" {
        let target = rest.first()?;
        let is_unknown = is_name(target) && !targets.contains(*target);
        return is_unknown.then(|| format!("no target {target} in the Makefile"));
    }
    if first.starts_with("infra/") {
        let there = workspace().join(first).exists();
        return (!there).then(|| format!("no file {first}"));
    }
    let program = program(first)?;
    let mut asked = vec![(*first).to_owned()];
    let mut known = helps.of(program, &asked).to_owned();
    for word in rest {
        if is_name(word) && known.contains(&format!("\n  {word} ")) {
            asked.push((*word).to_owned());
            known = helps.of(program, &asked).to_owned();
        } else if word.starts_with("--") && word.len() > 2 {
            let flag = word.split('=').next().unwrap();
            let flags = known.split(|c: char| !(c.is_alphanumeric() || c == '-'));
            if !flags.clone().any(|known| known == flag) {
                return Some(format!("{} has no {flag}", asked.join(" ")));
            }
        }
    }
    None
}

fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-')
}

#[test]
fn commands_and_their_flags_exist() {
    let makefile = fs::read_to_string(workspace().join("Makefile")).unwrap();
    let targets = makefile
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
        .collect();
    let (mut helps, mut seen, mut wrong) = (Helps::default(), 0, Vec::new());
    for (path, text) in pages() {
        for part in parts(&text) {
            let Part::Block("sh" | "", lines) = part else {
                continue;
            };
            let script = lines.join("\n").replace("\\\n", " ");
            for line in script.lines() {
                let line = line.split(" #").next().unwrap();
                for command in line.split(['|', ';', '&', '(', '<', '>']) {
                    seen += usize::from(command.split_whitespace().find_map(program).is_some());
                    if let Some(fault) = fault(command, &mut helps, &targets) {
                        wrong.push(format!("{}: {}: {fault}", path.display(), line.trim()));
                    }
                }
            }
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What must be the same in each language: levels of headings, commands, numbers of tables, links.
fn skeleton(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    for part in parts(text) {
        match part {
            Part::Line(_, line) if line.starts_with('#') => {
                let level = line.chars().take_while(|c| *c == '#').count();
                all.push(format!("heading of level {level}"));
            }
            Part::Line(_, line) => {
                let figures = line.starts_with('|').then(|| {
                    let words = line.split(|c: char| !(c.is_ascii_digit() || c == '.'));
                    let figures = words.map(|word| word.trim_matches('.'));
                    let figures: Vec<_> = figures.filter(|word| !word.is_empty()).collect();
                    figures.join(" ")
                });
                all.extend(figures);
                all.extend(links(line).map(|link| link.replace(".zh-CN", "")));
            }
            Part::Block(language, lines) => {
                let command = |line: &str| line.split(" #").next().unwrap().trim_end().to_owned();
                all.push(format!("block of {language}"));
                all.extend(lines.into_iter().map(command));
            }
        }
    }
    all
}

#[test]
fn chinese_pages_are_in_step() {
    let pages = pages();
    let mut count = 0;
    for (path, chinese) in &pages {
        let name = path.to_str().unwrap();
        let Some(stem) = name.strip_suffix(".zh-CN.md") else {
            continue;
        };
        let english = &pages[Path::new(&format!("{stem}.md"))];
        // Sorted, because the sentences of each language have their own order of links.
        let sorted = |text| {
            let mut skeleton = skeleton(text);
            skeleton.sort_unstable();
            skeleton
        };
        let (english, chinese) = (sorted(english), sorted(chinese));
        let only = |these: &[String], others: &[String]| {
            let alone = these.iter().filter(|line| !others.contains(line));
            alone.cloned().collect::<Vec<_>>()
        };
        let (left, right) = (only(&english, &chinese), only(&chinese, &english));
        assert!(
            left.is_empty() && right.is_empty(),
            "{name}: {left:?} {right:?}"
        );
        assert_eq!(english.len(), chinese.len(), "{name}");
        count += 1;
    }
    assert_eq!(count, 2);
}
