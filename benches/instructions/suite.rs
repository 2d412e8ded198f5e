//! What a suite is.

/// Cases that are measured and printed together.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) cases: Vec<Case>,
}

/// Something that is called over and over.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The case whose cost is taken off: the same without what is measured. A bare case names itself.
    pub(crate) over: &'static str,
    /// Sets up, and makes so many calls.
    pub(crate) run: fn(u64),
    pub(crate) limits: Vec<Limit>,
}

impl Case {
    pub(crate) fn new(
        name: &'static str,
        over: &'static str,
        run: fn(u64),
        limits: Vec<Limit>,
    ) -> Self {
        Self {
            name,
            over,
            run,
            limits,
        }
    }
}

/// What a call may cost over the bare case.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) of: Of,
    /// The target.
    pub(crate) target: f64,
    /// What `--check` lets pass: the target, or what is reached where that is more.
    pub(crate) held: f64,
}

#[derive(Clone, Copy)]
pub(crate) enum Of {
    Allocations,
    /// The instructions, by themselves: what they were when it was written.
    Count,
    /// The instructions, by those of another case over its own bare one.
    Instructions(&'static str),
}

impl Limit {
    pub(crate) const fn allocations(target: f64) -> Self {
        Self {
            of: Of::Allocations,
            target,
            held: target,
        }
    }

    pub(crate) const fn count(target: f64) -> Self {
        Self {
            of: Of::Count,
            target,
            held: target,
        }
    }

    pub(crate) const fn instructions(target: f64, of: &'static str) -> Self {
        Self {
            of: Of::Instructions(of),
            target,
            held: target,
        }
    }

    /// Not as good as the target, but no worse than this.
    pub(crate) const fn but_held(mut self, held: f64) -> Self {
        self.held = held;
        self
    }
}
