/// What one of the others and we agree on.
pub(crate) struct Count {
    pub(crate) name: &'static str,
    pub(crate) passed: u32,
    pub(crate) failed: u32,
}

impl Count {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, passed: 0, failed: 0 }
    }

    pub(crate) fn check(&mut self, what: &str, good: bool) {
        match good {
            true => self.passed += 1,
            false => {
                self.failed += 1;
                println!("FAILED {}: {what}", self.name);
            }
        }
    }
}
