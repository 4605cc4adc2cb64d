//! A plugin for QEMU's user mode. It counts the instructions that each thread of the emulated program executes.
//!
//! The counts are in the file that the plugin's only argument names: `-plugin libcounter.so,counts=/path`. While the
//! program runs, the file can be read at any time. It has 1,024 places of two numbers of 64 bits: the thread's id,
//! and how many instructions it has executed. A place without a thread is all zeros.
//!
//! The functions and their types are those of QEMU's `include/qemu/qemu-plugin.h`, version 1 of the API (QEMU 6 to 8).

use std::{
    ffi::{CStr, c_char, c_int, c_uint, c_void},
    fs::{self, OpenOptions},
    io, process, ptr, slice,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use memmap2::{MmapOptions, MmapRaw};

/// The number of threads that are counted at a time. A program that has more is ended.
const THREADS: usize = 1024;

/// The version of the API that this plugin uses.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static qemu_plugin_version: c_int = 1;

/// `QEMU_PLUGIN_CB_NO_REGS`: the callback reads no registers.
const NO_REGISTERS: c_int = 0;

/// A block of instructions that are executed one after the other.
#[repr(C)]
struct Block([u8; 0]);

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(plugin: u64, callback: extern "C" fn(u64, *mut Block));
    fn qemu_plugin_register_vcpu_tb_exec_cb(
        block: *mut Block,
        callback: extern "C" fn(c_uint, *mut c_void),
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(block: *const Block) -> usize;
    fn qemu_plugin_register_vcpu_exit_cb(plugin: u64, callback: extern "C" fn(u64, c_uint));
}

/// What is known of a thread, as it stands in the file.
#[repr(C)]
#[derive(Debug)]
struct Thread {
    id: AtomicU64,
    instructions: AtomicU64,
}

static COUNTS: OnceLock<MmapRaw> = OnceLock::new();

/// Called by QEMU when it loads the plugin. Anything but 0 is a failure.
///
/// # Safety
/// `arguments` has to point at `count` texts.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn qemu_plugin_install(
    plugin: u64,
    _: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    // SAFETY: by this function's own condition there is a first argument.
    let argument = (count == 1).then(|| unsafe { CStr::from_ptr(*arguments) }.to_str().ok()).flatten();
    let Some(file) = argument.and_then(|argument| argument.strip_prefix("counts=")) else {
        eprintln!("counter: its only argument has to be counts=/path");
        return 1;
    };
    match map(file) {
        Ok(map) => _ = COUNTS.set(map),
        Err(error) => {
            eprintln!("counter: {file}: {error}");
            return 1;
        }
    }
    // SAFETY: QEMU gave this id. The callbacks are there as long as the program runs, as the plugin isn't unloaded.
    unsafe {
        qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
        qemu_plugin_register_vcpu_exit_cb(plugin, ended);
    }
    0
}

fn map(file: &str) -> io::Result<MmapRaw> {
    let length = THREADS * size_of::<Thread>();
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(file)?;
    file.set_len(length as u64)?;
    MmapOptions::new().len(length).map_raw(&file)
}

/// QEMU has translated a block. From now on it calls [`executed`] each time before the block runs.
extern "C" fn translated(_: u64, block: *mut Block) {
    // SAFETY: the block is QEMU's, and valid during this call. The data isn't a pointer, and is never read as one.
    unsafe {
        let instructions = ptr::without_provenance_mut(qemu_plugin_tb_n_insns(block));
        qemu_plugin_register_vcpu_tb_exec_cb(block, executed, NO_REGISTERS, instructions);
    }
}

/// A block is executed, by the thread whose number this is.
extern "C" fn executed(number: c_uint, instructions: *mut c_void) {
    let Some(thread) = COUNTS.get().and_then(|map| threads(map).get(number as usize)) else {
        eprintln!("counter: the program has more than {THREADS} threads");
        process::abort();
    };
    if thread.id.load(Relaxed) == 0 {
        thread.id.store(own_id(), Relaxed);
    }
    // Only this thread writes here.
    thread.instructions.store(thread.instructions.load(Relaxed) + instructions.addr() as u64, Relaxed);
}

/// A thread has ended. The next one may get its number.
extern "C" fn ended(_: u64, number: c_uint) {
    if let Some(thread) = COUNTS.get().and_then(|map| threads(map).get(number as usize)) {
        thread.instructions.store(0, Relaxed);
        thread.id.store(0, Relaxed);
    }
}

fn threads(map: &MmapRaw) -> &[Thread] {
    // SAFETY: the map has this length, begins at a page, is never unmapped, and is only used as these atomic numbers.
    unsafe { slice::from_raw_parts(map.as_ptr().cast(), THREADS) }
}

/// The id of the calling thread, which is the emulated thread's own; 0 if it can't be read.
fn own_id() -> u64 {
    let link = fs::read_link("/proc/thread-self").ok();
    link.and_then(|link| link.file_name()?.to_str()?.parse().ok()).unwrap_or(0)
}
