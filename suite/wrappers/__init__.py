"""Wrappers for single and vector environments; numpy and gymnasium only."""

from suite.wrappers.action import ActionDelay as ActionDelay
from suite.wrappers.action import ActionNoise as ActionNoise
from suite.wrappers.action import DelayedAction as DelayedAction
from suite.wrappers.action import NoisyAction as NoisyAction
from suite.wrappers.action import RepeatedAction as RepeatedAction
from suite.wrappers.action import StickyAction as StickyAction
from suite.wrappers.corruption import Corruption as Corruption
from suite.wrappers.corruption import Moment as Moment
from suite.wrappers.observation import NoisyObservation as NoisyObservation
from suite.wrappers.observation import ObservationNoise as ObservationNoise
from suite.wrappers.reward import DelayedReward as DelayedReward
from suite.wrappers.reward import NoisyReward as NoisyReward
from suite.wrappers.reward import RewardDelay as RewardDelay
from suite.wrappers.reward import RewardNoise as RewardNoise
from suite.wrappers.reward import RewardScale as RewardScale
from suite.wrappers.reward import ScaledReward as ScaledReward
from suite.wrappers.reward import SparseReward as SparseReward
from suite.wrappers.reward import SummedReward as SummedReward
from suite.wrappers.stack import restorable as restorable
from suite.wrappers.stored import corrupted as corrupted
from suite.wrappers.wrapper import CorruptionWrapper as CorruptionWrapper
