//! Keeps Envoy's compiler from inlining calls: `limit-inlining FROM TO`.
//!
//! Envoy runs V8 with its optimising compiler alone, which then has no counts that tell which calls matter. So it inlines
//! one call after the other, in the order of the code, until a function has grown to three to six times its size or has
//! 60 inlined calls (`NoLiftoffBudget` and `should_inline` in the `src/wasm` of V8 14.6). Most of the module is compiled
//! more than once, at each start and update.
//!
//! So each function that calls another gets a branch in front of its code, unless it is small. The branch is never taken.
//! In it is a call of functions that do nothing. The compiler inlines them until what the function may grow by is used
//! up, and then drops the branch. A host that doesn't inline calls skips it.

use anyhow::{Context as _, Result, bail};
use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, Module, TypeSection,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{
    CodeSectionReader, FunctionBody, FunctionSectionReader, ImportSectionReader, Operator, Parser, Payload, TypeRef,
    TypeSectionReader, Validator,
};

/// In bytes. A smaller function can't grow by much, and a branch takes eight bytes.
const MIN_BODY: usize = 60;

/// How often the upper functions of the tower call the one below: more than 60 calls in all, in few levels, since each
/// takes some of the compiler's stack.
const CALLS: [usize; 2] = [4, 16];

/// How many `nop`s the lowest function of the tower has. About so many bytes are left in the end of what a function may
/// grow by, and only calls of smaller functions are still inlined.
const FILLER: usize = 30;

/// The custom sections that say nothing about positions in the code.
const KEPT: [&str; 3] = ["name", "producers", "target_features"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else { bail!("usage: limit-inlining FROM TO") };
    let module = std::fs::read(from).with_context(|| format!("{from} can't be read"))?;
    let limited = limit(&module).with_context(|| format!("{from} can't be changed"))?;
    std::fs::write(to, limited).with_context(|| format!("{to} can't be written"))
}

fn limit(module: &[u8]) -> Result<Vec<u8>> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload?
            && !KEPT.contains(&section.name())
        {
            bail!("it has a section {:?}, which may be about the code as it was", section.name());
        }
    }
    let mut limited = Module::new();
    Limiter::default().parse_core_module(&mut limited, Parser::new(0), module)?;
    let limited = limited.finish();
    Validator::new().validate_all(&limited).context("what came out is invalid")?;
    Ok(limited)
}

/// Copies a module, and adds the branches and the tower of functions that they call. The tower comes last, so that no
/// other function changes its number.
#[derive(Default)]
struct Limiter {
    /// The number of the type of a function without parameters and results.
    nothing: u32,
    imported: u32,
    /// The number of the tower's highest function, which calls the next, and so on.
    tower: u32,
}

impl Limiter {
    fn calls_a_function(&self, body: &FunctionBody<'_>) -> Result<bool, wasmparser::BinaryReaderError> {
        for operator in body.get_operators_reader()? {
            if matches!(operator?, Operator::Call { function_index } if function_index >= self.imported) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

type Done = Result<(), Error<std::convert::Infallible>>;

impl Reencode for Limiter {
    type Error = std::convert::Infallible;

    fn parse_type_section(&mut self, types: &mut TypeSection, section: TypeSectionReader<'_>) -> Done {
        utils::parse_type_section(self, types, section)?;
        self.nothing = types.len();
        types.ty().function([], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut wasm_encoder::ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Done {
        for import in section.clone() {
            self.imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
        }
        utils::parse_import_section(self, imports, section)
    }

    fn parse_function_section(&mut self, functions: &mut FunctionSection, section: FunctionSectionReader<'_>) -> Done {
        utils::parse_function_section(self, functions, section)?;
        self.tower = self.imported + functions.len();
        for _ in 0..=CALLS.len() {
            functions.function(self.nothing);
        }
        Ok(())
    }

    fn parse_function_body(&mut self, code: &mut CodeSection, body: FunctionBody<'_>) -> Done {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        if body.range().len() >= MIN_BODY && self.calls_a_function(&body)? {
            function.instructions().i32_const(0).if_(BlockType::Empty).call(self.tower).end();
        }
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            function.instruction(&self.parse_instruction(&mut reader)?);
        }
        code.function(&function);
        Ok(())
    }

    fn parse_code_section(&mut self, code: &mut CodeSection, section: CodeSectionReader<'_>) -> Done {
        utils::parse_code_section(self, code, section)?;
        for (below, calls) in (self.tower + 1..).zip(CALLS) {
            let mut function = Function::new([]);
            for _ in 0..calls {
                function.instructions().call(below);
            }
            function.instructions().end();
            code.function(&function);
        }
        let mut function = Function::new([]);
        for _ in 0..FILLER {
            function.instructions().nop();
        }
        function.instructions().end();
        code.function(&function);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wasm_encoder::{CustomSection, EntityType, ImportSection};

    use super::*;

    /// A body that calls this function and does nothing for so many bytes.
    fn body(call: u32, nops: usize) -> Function {
        let mut function = Function::new([]);
        function.instructions().call(call);
        for _ in 0..nops {
            function.instructions().nop();
        }
        function.instructions().end();
        function
    }

    /// A module with an import, which is function 0, and these functions.
    fn module(bodies: &[Function]) -> Vec<u8> {
        let (mut types, mut imports) = (TypeSection::new(), ImportSection::new());
        let (mut functions, mut code) = (FunctionSection::new(), CodeSection::new());
        types.ty().function([], []);
        imports.import("env", "imported", EntityType::Function(0));
        for body in bodies {
            functions.function(0);
            code.function(body);
        }
        Module::new().section(&types).section(&imports).section(&functions).section(&code).clone().finish()
    }

    fn bodies(module: &[u8]) -> Vec<Vec<u8>> {
        let payloads = Parser::new(0).parse_all(module).map(Result::unwrap);
        let body = |payload| match payload {
            Payload::CodeSectionEntry(body) => Some(body.as_bytes().to_vec()),
            _ => None,
        };
        payloads.filter_map(body).collect()
    }

    #[test]
    fn each_function_from_60_bytes_that_calls_another_gets_a_branch() {
        let functions = [body(2, 100), body(0, 100), body(1, MIN_BODY - 4), body(1, MIN_BODY - 5)];
        let before = module(&functions);
        let after = limit(&before).unwrap();
        let (before, after) = (bodies(&before), bodies(&after));
        // No locals; then `i32.const 0`, `if`, `call 5`, `end`.
        let branch = [0, 0x41, 0, 0x04, 0x40, 0x10, 5, 0x0b];
        for (number, is_limited) in [(0, true), (1, false), (2, true), (3, false)] {
            let expected =
                if is_limited { [&branch[..], &before[number][1..]].concat() } else { before[number].clone() };
            assert_eq!(after[number], expected, "{number}");
        }
        assert_eq!(after.len(), functions.len() + CALLS.len() + 1);
    }

    #[test]
    fn a_module_that_it_could_spoil_is_refused() {
        assert!(limit(b"no module").is_err());
        // Without functions there is no place for the tower's types, only for its code.
        let mut module = Module::new();
        assert!(limit(module.section(&CodeSection::new()).as_slice()).is_err());
        let mut module = Module::new();
        let hints = CustomSection { name: "metadata.code.branch_hint".into(), data: (&[][..]).into() };
        let error = limit(module.section(&hints).as_slice()).unwrap_err();
        assert!(error.to_string().contains("metadata.code.branch_hint"), "{error}");
    }
}
