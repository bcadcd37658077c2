"""The benchmarks of the suite; importing this package registers them."""

from suite_bench.benchmarks import driving as driving
from suite_bench.benchmarks import identification as identification
from suite_bench.benchmarks import mbpo as mbpo
from suite_bench.benchmarks import mbpo_course as mbpo_course
from suite_bench.benchmarks import mushr as mushr
from suite_bench.benchmarks import mushr_cvar as mushr_cvar
from suite_bench.benchmarks import offline as offline
from suite_bench.benchmarks import offline_corruption as offline_corruption
from suite_bench.benchmarks import pets as pets
from suite_bench.benchmarks import pickcube as pickcube
from suite_bench.benchmarks import pickcube_critic as pickcube_critic
from suite_bench.benchmarks import planning as planning
from suite_bench.benchmarks import planning_sweeps as planning_sweeps
from suite_bench.benchmarks import pwm as pwm
from suite_bench.benchmarks import pwm_ant as pwm_ant
from suite_bench.benchmarks import pwm_hopper as pwm_hopper
