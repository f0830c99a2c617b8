"""What the sections of a recipe are made of: the frozen base class, objections, kinds of values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, NoReturn, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from ovrecipe.recipe.project import PATTERN, name_objection
from ovrecipe.recipe.yaml_reader import Loc, dotted


@dataclass(frozen=True)
class Objection:
    """One thing that is wrong: `keys` lead from the section to it, `reason` says what it is."""

    keys: Loc
    reason: str


def _details(objection: Objection) -> InitErrorDetails:
    context = {"key": dotted(objection.keys), "error": objection.reason}
    error = PydanticCustomError("objection", "{key}: {error}", context)
    return InitErrorDetails(type=error, loc=objection.keys, input=None)


class Section(BaseModel):
    """A frozen part of a recipe that refuses unknown keys and does not guess at types."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, validate_default=True, allow_inf_nan=False
    )

    def objections(self) -> Iterable[Objection]:
        """Return which keys do not fit together; a section without such rules has none."""
        return ()

    @model_validator(mode="after")
    def _nothing_to_object_to(self) -> Self:
        if found := [*map(_details, self.objections())]:
            raise ValidationError.from_exception_data(type(self).__name__, found)
        return self


def key(meaning: str, default: Any = None) -> Any:
    """Return a key that may be left out; `meaning` is what the manual and editors say of it."""
    return Field(default, description=meaning)


Key = TypeVar("Key")
Value = TypeVar("Value")


class FrozenDict(dict[str, Value]):
    """A dict that refuses every change; a dict, so that json and pydantic write it as one."""

    def _unchangeable(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002
        raise TypeError("a recipe cannot be changed after it was read")

    __setitem__ = __delitem__ = __ior__ = _unchangeable
    clear = pop = popitem = setdefault = update = _unchangeable

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle as a whole: the default way fills a dict item by item."""
        return type(self), (dict(self),)


def frozen(value: Any) -> Any:
    """Return the value with every mapping in it frozen and every list a tuple."""
    if isinstance(value, Mapping):
        return FrozenDict({key: frozen(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(frozen(item) for item in value)
    return value


#: A YAML mapping, frozen; give it as `Mapped[str, Value]`.
Mapped: TypeAlias = Annotated[Mapping[Key, Value], AfterValidator(frozen)]

#: A YAML list; strict pydantic would take tuples only. What is in it stays strict.
Listed: TypeAlias = Annotated[tuple[Value, ...], Field(strict=False)]

#: Text that is not empty.
Text = Annotated[str, Field(min_length=1)]


def _file_name(name: str) -> str:
    if objection := name_objection(name):
        raise ValueError(objection)
    return name


Name = Annotated[str, Field(pattern=f"^{PATTERN}$")]
#: Recipes and variants become files and folders.
FileName = Annotated[Name, AfterValidator(_file_name)]
