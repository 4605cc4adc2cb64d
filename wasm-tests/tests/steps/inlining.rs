//! What Envoy's compiler makes of calls.

use anyhow::Result;
use wasmparser::{FunctionBody, Operator, Parser, Payload, TypeRef};

/// V8 inlines no more calls than this in one function.
const MAX_CALLS: usize = 60;

struct Function {
    bytes: usize,
    /// The functions of the module that it calls, in the order of the code.
    calls: Vec<Call>,
}

struct Call {
    callee: usize,
    /// Whether it is in a branch that is never taken: the compiler drops what is inlined there.
    is_dead: bool,
}

/// About how many bytes Envoy's compiler compiles: those of each function, and of the functions that are inlined there,
/// without what it drops. As V8 14.6 decides without its baseline compiler: `NoLiftoffBudget` and `should_inline` in its
/// `src/wasm`.
pub(crate) fn compiled_bytes(module: &[u8]) -> Result<usize> {
    let functions = functions(module)?;
    let small = functions.iter().filter(|function| function.bytes < 50).count();
    let share = small as f64 * 100.0 / functions.len() as f64;
    // By twice the size to five times, the more small functions there are.
    let growth = 2.0 + 3.0 * ((share - 25.0) / 25.0).clamp(0.0, 1.0);
    let compiled = functions.iter().map(|function| {
        let budget = ((function.bytes as f64 * growth) as usize).max(50);
        let mut inlining = Inlining { functions: &functions, budget, calls: 0, bytes: function.bytes };
        inlining.inline_calls_of(function, false);
        inlining.bytes
    });
    Ok(compiled.sum())
}

/// The inlining in one function.
struct Inlining<'a> {
    functions: &'a [Function],
    /// How many more bytes may be inlined.
    budget: usize,
    calls: usize,
    bytes: usize,
}

impl Inlining<'_> {
    fn inline_calls_of(&mut self, function: &Function, is_dead: bool) {
        for call in &function.calls {
            let Some(callee) = self.functions.get(call.callee) else { continue };
            if callee.bytes < self.budget && self.calls < MAX_CALLS {
                let is_dead = is_dead || call.is_dead;
                self.budget -= callee.bytes;
                self.bytes += if is_dead { 0 } else { callee.bytes };
                self.calls += 1;
                self.inline_calls_of(callee, is_dead);
            }
        }
    }
}

fn functions(module: &[u8]) -> Result<Vec<Function>> {
    let (mut imported, mut functions) = (0, Vec::new());
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports {
                    imported += usize::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::CodeSectionEntry(body) => {
                functions.push(Function { bytes: body.range().len(), calls: calls(&body, imported)? });
            }
            _ => {}
        }
    }
    Ok(functions)
}

fn calls(body: &FunctionBody<'_>, imported: usize) -> Result<Vec<Call>> {
    let (mut calls, mut is_zero) = (Vec::new(), false);
    // Of each block around the operator, whether it is dead.
    let mut blocks = Vec::new();
    for operator in body.get_operators_reader()? {
        let operator = operator?;
        let is_dead = blocks.contains(&true);
        match operator {
            Operator::If { .. } => blocks.push(is_zero),
            Operator::Block { .. } | Operator::Loop { .. } => blocks.push(false),
            Operator::Else => blocks.last_mut().into_iter().for_each(|is_dead| *is_dead = false),
            Operator::End => drop(blocks.pop()),
            Operator::Call { function_index } => {
                let callee = usize::try_from(function_index)?.checked_sub(imported);
                calls.extend(callee.map(|callee| Call { callee, is_dead }));
            }
            _ => {}
        }
        is_zero = matches!(operator, Operator::I32Const { value: 0 });
    }
    Ok(calls)
}
