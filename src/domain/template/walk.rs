//! Reading a template without running it: which names it uses, and what it may not contain.
//!
//! Depth is counted on the text before it is compiled, because the compiler recurses.

use handlebars::{
    Path, Template, TemplateErrorReason,
    template::{BlockParam, HelperTemplate, Parameter, TemplateElement},
};

use super::{MAX_DEPTH, MAX_SOURCE, helpers::HELPERS};
use crate::domain::suggest::closest;

/// Deepest nesting of `each`: a list in a list. Every level multiplies the work, and what writes nothing is not stopped by
/// the bound on the output.
const MAX_LOOPS: usize = 2;

/// Built-in helpers that are safe here. Not `log`, `raw`, and not `lookup`, which hides what it reads.
const BUILT_IN: &[&str] = &[
    "and", "each", "eq", "gt", "gte", "if", "len", "lt", "lte", "ne", "not", "or", "unless", "with",
];

/// A name that an expression or template reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// `["steps", "pods", "failed"]`; empty when it is computed.
    pub path: Vec<String>,
    /// Byte offset in the source; in templates, of the hole or block it stands in.
    pub offset: usize,
    /// It may be missing: it stands in `default`, `if`, `unless`, `each` or `with`.
    pub guarded: bool,
}

/// Why a template was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct TemplateError {
    /// What is wrong and what to write instead.
    pub message: String,
    /// Byte offset in the source.
    pub offset: usize,
}

/// Checks a template and lists the names it reads.
pub fn references(source: &str) -> Result<Vec<Reference>, TemplateError> {
    if !source.contains("{{") && source.len() <= MAX_SOURCE {
        return Ok(Vec::new());
    }
    check_size(source)?;
    let template = Template::compile(source).map_err(|error| TemplateError {
        message: match error.reason() {
            // The parser's own words list grammar rules nobody knows.
            TemplateErrorReason::InvalidSyntax(_) => {
                "this is not a template: a `{{` or a block is not closed, or a sign stands where none may".to_owned()
            }
            other => other.to_string(),
        },
        offset: error.pos().map_or(0, |(line, column)| offset(source, line, column)),
    })?;
    let mut walk = Walk { source, found: Vec::new(), bound: Vec::new(), contexts: 0, loops: 0 };
    walk.template(&template)?;
    Ok(walk.found)
}

fn check_size(source: &str) -> Result<(), TemplateError> {
    let refuse = |message: String, offset| Err(TemplateError { message, offset });
    if source.len() > MAX_SOURCE {
        let message = format!("this template is {} bytes long; at most {MAX_SOURCE}", source.len());
        return refuse(message, MAX_SOURCE);
    }
    let (mut blocks, mut from) = (0_usize, 0);
    while let Some(at) = source[from..].find("{{").map(|at| from + at) {
        let tag = source[at + 2..].trim_start_matches(['{', '~', '&', ' ', '\t', '\n']);
        let inside = tag.split("}}").next().unwrap_or_default();
        if tag.starts_with('#') {
            blocks += 1;
        } else if tag.starts_with('/') {
            blocks = blocks.saturating_sub(1);
        }
        let mut brackets = 0_usize;
        for byte in inside.bytes() {
            match byte {
                b'(' | b'[' | b'{' => brackets += 1,
                b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
                _ => {}
            }
            if brackets > MAX_DEPTH {
                return refuse(format!("brackets are nested deeper than {MAX_DEPTH}"), at);
            }
        }
        if blocks > MAX_DEPTH {
            return refuse(format!("blocks are nested deeper than {MAX_DEPTH}"), at);
        }
        from = at + 2;
    }
    Ok(())
}

struct Walk<'s> {
    source: &'s str,
    found: Vec<Reference>,
    /// Names bound by `as |x|`.
    bound: Vec<String>,
    /// Blocks around us that replace the context: bare names there belong to an item.
    contexts: usize,
    /// `each` blocks around us.
    loops: usize,
}

type Walked = Result<(), TemplateError>;

impl Walk<'_> {
    fn template(&mut self, template: &Template) -> Walked {
        for (element, at) in template.elements.iter().zip(&template.mapping) {
            self.element(element, offset(self.source, at.0, at.1))?;
        }
        Ok(())
    }

    fn element(&mut self, element: &TemplateElement, at: usize) -> Walked {
        match element {
            TemplateElement::Expression(helper)
            | TemplateElement::HtmlExpression(helper)
            | TemplateElement::HelperBlock(helper) => self.helper(helper, at),
            TemplateElement::PartialExpression(_)
            | TemplateElement::PartialBlock(_)
            | TemplateElement::DecoratorExpression(_)
            | TemplateElement::DecoratorBlock(_) => Err(TemplateError {
                message: "partials and decorators are not available".to_owned(),
                offset: at,
            }),
            _ => Ok(()),
        }
    }

    fn helper(&mut self, helper: &HelperTemplate, at: usize) -> Walked {
        let plain = helper.params.is_empty() && helper.hash.is_empty() && !helper.block;
        if plain {
            let name = helper.name.as_name().unwrap_or_default();
            if HELPERS.contains(&name) || BUILT_IN.contains(&name) {
                let message = format!("`{name}` is a helper and needs a value; {{{{{name} x}}}}");
                return Err(TemplateError { message, offset: at });
            }
            return self.param(&helper.name, at, false);
        }
        let name = helper.name.as_name().unwrap_or_default().to_owned();
        if !HELPERS.contains(&name.as_str()) && !BUILT_IN.contains(&name.as_str()) {
            let names: Vec<&str> = HELPERS.iter().chain(BUILT_IN).copied().collect();
            let hint = closest(&name, &names).map_or_else(
                || format!("there is {}", names.join(", ")),
                |known| format!("did you mean `{known}`?"),
            );
            return Err(TemplateError {
                message: format!("there is no helper `{name}`; {hint}"),
                offset: at,
            });
        }
        let guarded = matches!(name.as_str(), "default" | "if" | "unless" | "each" | "with");
        for param in helper.params.iter().chain(helper.hash.values()) {
            self.param(param, at, guarded)?;
        }
        let names = match &helper.block_param {
            Some(BlockParam::Single(one)) => vec![one],
            Some(BlockParam::Pair((one, two))) => vec![one, two],
            _ => vec![],
        };
        let (bound, contexts, loops) = (self.bound.len(), self.contexts, self.loops);
        self.bound.extend(names.iter().filter_map(|n| n.as_name()).map(ToOwned::to_owned));
        if matches!(name.as_str(), "each" | "with") {
            self.contexts += 1;
        }
        self.loops += usize::from(name == "each");
        if self.loops > MAX_LOOPS {
            let message = format!("`each` is nested deeper than {MAX_LOOPS}");
            return Err(TemplateError { message, offset: at });
        }
        helper.template.as_ref().map_or(Ok(()), |inner| self.template(inner))?;
        self.bound.truncate(bound);
        (self.contexts, self.loops) = (contexts, loops);
        helper.inverse.as_ref().map_or(Ok(()), |inner| self.template(inner))
    }

    fn param(&mut self, param: &Parameter, at: usize, guarded: bool) -> Walked {
        match param {
            Parameter::Path(path) => {
                self.path(path, at, guarded);
                Ok(())
            }
            Parameter::Name(name) => {
                self.found_path(vec![name.clone()], at, guarded);
                Ok(())
            }
            Parameter::Subexpression(inner) => match inner.as_element() {
                TemplateElement::Expression(helper) => {
                    let before = self.found.len();
                    self.helper(helper, at)?;
                    for reference in &mut self.found[before..] {
                        reference.guarded |= guarded;
                    }
                    Ok(())
                }
                other => self.element(other, at),
            },
            _ => Ok(()),
        }
    }

    fn path(&mut self, path: &Path, at: usize, guarded: bool) {
        let Path::Relative((_, raw)) = path else { return };
        let mut rest = raw.as_str();
        let mut up = 0;
        if let Some(from_root) = rest.strip_prefix("@root").filter(|r| r.starts_with(['.', '/'])) {
            rest = &from_root[1..];
            up = self.contexts;
        }
        while let Some(parent) = rest.strip_prefix("../") {
            rest = parent;
            up += 1;
        }
        let explicit = ["this.", "this/", "./"].iter().find_map(|own| rest.strip_prefix(own));
        let own = explicit.is_some() || matches!(rest, "this" | ".");
        let parts = segments(explicit.unwrap_or(rest));
        let bound = !own && parts.first().is_some_and(|first| self.bound.contains(first));
        if !bound && up >= self.contexts && !(own && parts.is_empty()) {
            self.found_path(parts, at, guarded);
        }
    }

    fn found_path(&mut self, path: Vec<String>, offset: usize, guarded: bool) {
        self.found.push(Reference { path, offset, guarded });
    }
}

/// `a.b.[c.d]/0` as its parts.
fn segments(raw: &str) -> Vec<String> {
    let (mut parts, mut rest) = (Vec::new(), raw);
    while !rest.is_empty() {
        let (part, after) = match rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            Some((part, after)) => (part, after),
            None => rest.find(['.', '/']).map_or((rest, ""), |end| rest.split_at(end)),
        };
        if part != "this" && !part.is_empty() {
            parts.push(part.to_owned());
        }
        rest = after.strip_prefix(['.', '/']).unwrap_or(after);
    }
    parts
}

fn offset(source: &str, line: usize, column: usize) -> usize {
    let before: usize =
        source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let rest = source.get(before..).unwrap_or_default();
    before + rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at)
}
