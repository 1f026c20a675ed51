//! A small scanner of Rust source: enough to see paths, calls and functions, no more.

/// A word or mark of the source, with the line it stands on (from 1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub line: usize,
    pub text: String,
}

/// The source with comments and the insides of literals blanked. Lines stay where they are.
pub fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut out = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_comment_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if starts_word(&chars, at) => raw_string_end(&chars, at).unwrap_or(at),
            'b' | 'c' if starts_word(&chars, at) && chars.get(at + 1) == Some(&'r') => {
                raw_string_end(&chars, at + 1).unwrap_or(at)
            }
            '\'' => char_end(&chars, at).unwrap_or(at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
        } else {
            out.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    out
}

fn starts_word(chars: &[char], at: usize) -> bool {
    at == 0 || !is_word(chars[at - 1])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|c| *c == '\n').map_or(chars.len(), |len| at + len)
}

fn block_comment_end(chars: &[char], at: usize) -> usize {
    let (mut depth, mut i) = (0, at);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') if depth == 1 => return i + 2,
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut i = at + 1;
    while i < chars.len() {
        match chars[i] {
            '\\' => i += 2,
            '"' => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

fn raw_string_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
    let open = at + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return None;
    }
    let mut i = open + 1;
    while i < chars.len() {
        if chars[i] == '"' && chars[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(chars.len())
}

/// The end of a character literal; `None` where the quote begins a lifetime.
fn char_end(chars: &[char], at: usize) -> Option<usize> {
    match chars.get(at + 1)? {
        '\\' => chars[at + 3..].iter().position(|c| *c == '\'').map(|len| at + 4 + len),
        _ => (chars.get(at + 2) == Some(&'\'')).then_some(at + 3),
    }
}

/// Code without the items under `#[cfg(test)]`. Lines stay where they are.
pub fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    while let Some(start) = out.find(MARK) {
        let rest = &out[start + MARK.len()..];
        let end = match rest.find(['{', ';']) {
            Some(at) if rest[at..].starts_with('{') => start + MARK.len() + block_end(rest, at),
            Some(at) => start + MARK.len() + at + 1,
            None => out.len(),
        };
        let blank: String = out[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// The byte behind the brace that closes the one at `open`.
fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return open + at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// The words and marks of blanked code; `::` is one mark.
pub fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let len = match first {
                c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            tokens.push(Token { line: index + 1, text: rest[..len].to_owned() });
            rest = rest[len..].trim_start();
        }
    }
    tokens
}

/// Every path that starts at `crate`, `super` or one of `roots`, resolved to the crate's root:
/// `use` trees and paths in the middle of code alike. `module` is where the code stands.
pub fn crate_paths(tokens: &[Token], module: &[String], roots: &[&str]) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    for at in 0..tokens.len() {
        let preceded = at > 0 && text(at - 1) == "::";
        if preceded || text(at + 1) != "::" {
            continue;
        }
        let mut next = at;
        let mut base: Vec<String> = module.to_vec();
        match text(at) {
            "crate" => (base, next) = (Vec::new(), at + 2),
            "super" => {
                while text(next) == "super" && text(next + 1) == "::" {
                    base.pop();
                    next += 2;
                }
            }
            word if roots.contains(&word) => (base, next) = (Vec::new(), at + 2),
            _ => continue,
        }
        tree(tokens, next, &base, &mut paths);
    }
    paths
}

/// Reads a `use` tree from `at` on; answers where it ends.
fn tree(tokens: &[Token], mut at: usize, base: &[String], paths: &mut Vec<(usize, Vec<String>)>) -> usize {
    let mut path = base.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "{" => {
                at += 1;
                while let Some(inner) = tokens.get(at).filter(|token| token.text != "}") {
                    at = if inner.text == "," { at + 1 } else { tree(tokens, at, &path, paths) };
                }
                return at + 1;
            }
            word if word.chars().next().is_some_and(is_word) => path.push(word.to_owned()),
            _ => {
                // A star, or the `<` of a turbofish: what was read so far is the path.
                paths.push((token.line, path));
                return at + 1;
            }
        }
        at += 1;
        if tokens.get(at).is_none_or(|token| token.text != "::") {
            paths.push((token.line, path));
            let renamed = tokens.get(at).is_some_and(|token| token.text == "as");
            return if renamed { at + 2 } else { at };
        }
        at += 1;
    }
    at
}

/// A function: its name, its first line and how many lines of code its body has.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

/// The functions of blanked code that have a body.
pub fn functions(code: &str) -> Vec<Function> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for at in 0..tokens.len().saturating_sub(1) {
        let name = &tokens[at + 1].text;
        if tokens[at].text != "fn" || !name.chars().next().is_some_and(is_word) {
            continue;
        }
        let Some(open) = (at..tokens.len()).find(|i| matches!(tokens[*i].text.as_str(), "{" | ";")) else { continue };
        if tokens[open].text == ";" {
            continue;
        }
        let close = closing(&tokens, open);
        let (first, last) = (tokens[open].line, tokens[close].line);
        let inside = code.lines().skip(first).take(last.saturating_sub(first + 1));
        let lines = inside.filter(|line| !line.trim().is_empty()).count();
        found.push(Function { name: name.clone(), line: tokens[at].line, lines });
    }
    found
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" if depth == 1 => return at,
            "}" => depth -= 1,
            _ => {}
        }
    }
    tokens.len() - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str, module: &[&str]) -> Vec<String> {
        let module: Vec<String> = module.iter().map(ToString::to_string).collect();
        let tokens = tokens(&without_tests(&code(source)));
        crate_paths(&tokens, &module, &["runwatch"]).into_iter().map(|(_, path)| path.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_no_code() {
        let source = "a // crate::x\n/* crate::y /* nested */ z */ b \"crate::\\\" q\" c r#\"crate::\" r\"# d '\"' e 'l f b'\\'' g";
        let words: Vec<String> = tokens(&code(source)).into_iter().map(|token| token.text).collect();
        assert_eq!(words, ["a", "b", "c", "d", "e", "'", "l", "f", "b", "g"]);
        assert_eq!(code(source).lines().count(), 2);
    }

    #[test]
    fn a_use_tree_is_read_to_its_leaves() {
        let source = "use crate::{domain::{event::Event, names as n}, ports::*};\nfn f() { crate::limits::MAX; }";
        assert_eq!(paths(source, &[]), ["domain::event::Event", "domain::names", "ports", "limits::MAX"]);
    }

    #[test]
    fn super_is_resolved_from_where_the_code_stands() {
        assert_eq!(paths("use super::outlet::Outlet;", &["actors", "router"]), ["actors::outlet::Outlet"]);
        assert_eq!(paths("use super::super::ports::Intake;", &["actors", "router"]), ["ports::Intake"]);
        assert_eq!(paths("pub(super) fn f(); pub(crate) fn g();", &["actors"]), [""; 0]);
    }

    #[test]
    fn a_named_root_counts_as_the_crate_and_a_foreign_path_does_not() {
        assert_eq!(paths("runwatch::cli::main(); other::runwatch::x(); Vec::<u8>::new();", &[]), ["cli::main"]);
    }

    #[test]
    fn tests_are_left_out_and_lines_stay() {
        let source =
            "use crate::a;\n#[cfg(test)]\nmod tests {\n    use crate::b;\n}\n#[cfg(test)]\nmod more;\nuse crate::c;";
        assert_eq!(paths(source, &[]), ["a", "c"]);
        let tokens = tokens(&without_tests(&code(source)));
        assert_eq!(tokens.last().map(|token| token.line), Some(8));
    }

    #[test]
    fn a_function_is_as_long_as_its_lines_of_code() {
        let source = "trait T { fn none(&self); }\nfn long(a: fn(u8)) -> u8\nwhere u8: Copy {\n    // why\n    let b = 1;\n\n    if b > 0 {\n        b\n    }\n}";
        assert_eq!(functions(&code(source)), [Function { name: "long".to_owned(), line: 2, lines: 4 }]);
    }
}
