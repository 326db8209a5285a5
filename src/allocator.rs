//! The allocator of every program of this package. Invariant: memory that is no longer used goes back to the system, whichever thread
//! took it and whichever gives it back; `docs/decisions/0037-an-allocator-that-gives-back.md` has the figures.

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;
