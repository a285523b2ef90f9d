"""What the shapes of files and requests are made of: strict models, and the words in them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Text = Annotated[str, Field(max_length=2000)]
# No control characters: PostgreSQL has no NUL, and it is shown in one line.
OneLine = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", min_length=1, max_length=500)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Strict(BaseModel):
    """No unknown field, no silent conversion, no change after reading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
