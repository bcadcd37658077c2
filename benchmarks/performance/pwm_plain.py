"""PWM as one would first write it, in 60 lines: the plain contender of ``pwm.py``."""

# No types, as in a script, and torch's stubs take a slice of a Sequential for a Module.
# pyright: reportGeneralTypeIssues=false, reportCallIssue=false

from itertools import pairwise

import torch
from torch import nn

from suite.worldmodels.running import RunningNormaliser

NORMED = (nn.LayerNorm, lambda _: nn.Mish())
GROUPS = (nn.Unflatten(-1, (-1, 8)), nn.Softmax(-1), nn.Flatten(-2))


def chain(kinds, *widths):
    layers = [(nn.Linear(a, b), *(k(b) for k in kinds)) for a, b in pairwise(widths)]
    return nn.Sequential(*sum(layers, ()))


class Plain(nn.Module):
    def __init__(self, rng):
        super().__init__()
        self.encoder = nn.Sequential(*chain(NORMED, 37, 256, 512)[:-1], *GROUPS)
        self.dynamics = nn.Sequential(*chain(NORMED, 520, 512, 512, 512)[:-1], *GROUPS)
        self.reward = chain(NORMED, 520, 512, 512, 1)[:-2]
        self.actor = chain(NORMED[::-1], 512, 400, 200, 100, 8)[:-2]
        self.actor.log_std = nn.Parameter(-torch.ones(8))
        critics = (chain(NORMED[::-1], 512, 400, 200, 1)[:-2] for _ in range(3))
        self.critics = nn.ModuleList(critics)
        self.paid, self.returns = RunningNormaliser(), RunningNormaliser()
        model = nn.ModuleList([self.encoder, self.dynamics, self.reward])
        self.own = [[*net.parameters()] for net in (model, self.actor, self.critics)]
        kinds = (3e-4, 5e-4, 5e-4), ((0.9, 0.999), (0.7, 0.95), (0.7, 0.95))
        self.adams = [torch.optim.Adam(*a) for a in zip(self.own, *kinds, strict=True)]
        self.rng, self.decays, self.told = rng, 0.99 ** torch.arange(17.0), []

    def descend(self, which, loss, clip):
        self.adams[which].zero_grad()
        loss.backward(inputs=self.own[which])
        nn.utils.clip_grad_norm_(self.own[which], clip)
        self.adams[which].step()
        self.told.append(loss.detach())

    def value(self, z):
        return torch.cat([critic(z) for critic in self.critics], -1)

    def model_step(self, obs, actions, rewards):
        self.paid.refresh(rewards)
        with torch.no_grad():
            targets = self.encoder(obs[1:])
        z = [self.encoder(obs[0])]
        for action in actions:
            z.append(self.dynamics(torch.cat([z[-1], action], -1)))
        z, paid = torch.stack(z), self.paid(rewards).clamp(-5, 5)
        said = self.reward(torch.cat([z[:-1], actions], -1))[..., 0]
        errors = (z[1:] - targets).square().mean(-1) + (said - paid).square() / 16
        self.descend(0, (self.decays[:-1] @ errors).mean() / 16, 20.0)

    def actor_step(self, z):
        eps, z, paid = torch.randn(16, len(z), 8, generator=self.rng).to(z), [z], []
        for e in eps * self.actor.log_std.exp():
            both = torch.cat([z[-1], torch.tanh(self.actor(z[-1].detach()) + e)], -1)
            paid.append(self.reward(both)[..., 0])
            z.append(self.dynamics(both))
        gains = self.decays @ torch.stack([*paid, self.value(z[-1]).amin(-1)])
        self.returns.refresh(gains.detach())
        self.descend(1, -gains.mean() / self.returns.std.float(), 1.0)
        self.actor.log_std.data.clamp_(min=-1.427)
        return torch.stack(z).detach(), torch.stack(paid).detach()

    def critic_steps(self, z, paid):
        with torch.no_grad():
            values = self.value(z[1:]).amin(-1)
        y, z = [values[-1]], z[:-1].flatten(0, 1)
        for reward, value in zip(paid.flip(0), values.flip(0), strict=True):
            y.append(reward + 0.99 * torch.lerp(value, y[-1], 0.95))
        y = torch.stack(y[:0:-1]).flatten()
        for _ in range(8):
            for i in torch.randperm(2048, generator=self.rng).to(z.device).chunk(4):
                self.descend(2, (self.value(z[i]) - y[i, None]).square().mean(), 100.0)
