//! Strongly connected components (Tarjan, 1972).

use std::collections::BTreeMap;

use crate::graph::ImportGraph;

/// The cycles of a graph, each as the sorted names of its files. Files in two overlapping cycles are in one.
#[must_use]
pub fn cycles(graph: &ImportGraph) -> Vec<Vec<&str>> {
    let mut search = Search { graph, visits: BTreeMap::new(), stack: Vec::new(), found: Vec::new() };
    for file in graph.files() {
        if !search.visits.contains_key(file) {
            search.visit(file);
        }
    }
    search.found.sort();
    search.found
}

struct Search<'g> {
    graph: &'g ImportGraph,
    visits: BTreeMap<&'g str, Visit>,
    stack: Vec<&'g str>,
    found: Vec<Vec<&'g str>>,
}

#[derive(Clone, Copy)]
struct Visit {
    index: usize,
    on_stack: bool,
}

impl<'g> Search<'g> {
    /// Returns the lowest index that can be reached from `file`.
    fn visit(&mut self, file: &'g str) -> usize {
        let index = self.visits.len();
        self.visits.insert(file, Visit { index, on_stack: true });
        self.stack.push(file);
        let mut lowest = index;
        for imported in self.graph.imported_by(file) {
            match self.visits.get(imported) {
                None => lowest = lowest.min(self.visit(imported)),
                Some(visit) if visit.on_stack => lowest = lowest.min(visit.index),
                Some(_) => {}
            }
        }
        if lowest == index {
            self.close(file);
        }
        lowest
    }

    /// Takes the component that starts with `first` off the stack.
    fn close(&mut self, first: &str) {
        let at = self.stack.iter().position(|file| *file == first).unwrap_or_default();
        let mut component = self.stack.split_off(at);
        for file in &component {
            if let Some(visit) = self.visits.get_mut(file) {
                visit.on_stack = false;
            }
        }
        if component.len() > 1 {
            component.sort_unstable();
            self.found.push(component);
        }
    }
}
