//! The process collector, with processor time to the part of a second: the library's counts whole
//! seconds, of which a proxy with little to do uses one in minutes.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use rustix::time::{ClockId, clock_gettime};

const PROCESSOR_TIME: &str = "process_cpu_seconds_total";

pub(super) struct Process(ProcessCollector);

impl Process {
    /// The process that this runs in.
    pub(super) fn this() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        let used = Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default();
        let mut counter = Counter::default();
        counter.set_value(used.as_secs_f64());
        families
            .iter_mut()
            .filter(|family| family.name() == PROCESSOR_TIME)
            .flat_map(MetricFamily::mut_metric)
            .for_each(|metric| metric.set_counter(counter.clone()));
        families
    }
}
