"""The plan, as an activity: what is decided stays decided, whatever version of the planner replays the rollout."""

from temporalio import activity

from activities.rings import Rings
from sealring.models.plan import Plan
from sealring.models.rollout import PlanQuestion
from sealring.planning.plan import make_plan


class PlanningActivities:
    """Needs the cluster files; reaches no node."""

    def __init__(self, rings: Rings) -> None:
        """`rings` for the rules of each cluster."""
        self.rings = rings

    @activity.defn
    async def make_plan(self, question: PlanQuestion) -> Plan:
        """Decide. Pure but for reading the cluster file's rules, so it can be repeated."""
        return make_plan(question, self.rings.file(question.request.cluster).rollout)
