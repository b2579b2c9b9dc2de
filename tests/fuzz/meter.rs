//! An allocator that knows how much a thread holds, and the most it held.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

/// Refused, so that a mistake ends the run and not the machine.
const REQUEST_BYTES_MAX: usize = 1 << 30;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

pub struct Meter;

/// What the thread held at most while `work` ran, beyond what it held before.
pub fn measured<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = work();
    (done, usize::try_from(MOST.get() - before).unwrap_or(0))
}

fn count(more: isize) {
    // A thread that ends frees after its variables have gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + more);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

#[expect(unsafe_code, reason = "an allocator is unsafe by its trait; this one counts and hands on")]
// SAFETY: every call goes to the system's allocator unchanged, or is refused as the trait allows.
unsafe impl GlobalAlloc for Meter {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() > REQUEST_BYTES_MAX {
            return std::ptr::null_mut();
        }
        count(layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if size > REQUEST_BYTES_MAX {
            return std::ptr::null_mut();
        }
        count(size.cast_signed() - layout.size().cast_signed());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[test]
fn what_is_held_for_a_moment_is_counted() {
    let (length, most) = measured(|| {
        let block = vec![1_u8; 100_000];
        std::hint::black_box(&block).len()
    });
    assert_eq!(length, 100_000);
    assert!((100_000..110_000).contains(&most), "{most}");
}
