package dtdl

import "strings"

// quantity is a semantic type that says what a number measures, and the family of units that it is measured in: DTDL v2,
// section "Semantic types", and DTDL.quantitativeTypes v1 and v2. extended ones came with the extension.
type quantity struct {
	name, family string
	extended     bool
}

var quantities = []quantity{
	{name: "Acceleration", family: "AccelerationUnit"},
	{name: "Angle", family: "AngleUnit"},
	{name: "AngularAcceleration", family: "AngularAccelerationUnit"},
	{name: "AngularVelocity", family: "AngularVelocityUnit"},
	{name: "ApparentEnergy", family: "ApparentEnergyUnit", extended: true},
	{name: "ApparentPower", family: "ApparentPowerUnit", extended: true},
	{name: "Area", family: "AreaUnit"},
	{name: "Capacitance", family: "CapacitanceUnit"},
	{name: "Concentration", family: "Unitless", extended: true},
	{name: "Current", family: "CurrentUnit"},
	{name: "DataRate", family: "DataRateUnit"},
	{name: "DataSize", family: "DataSizeUnit"},
	{name: "Density", family: "DensityUnit"},
	{name: "Distance", family: "LengthUnit"},
	{name: "ElectricCharge", family: "ChargeUnit"},
	{name: "Energy", family: "EnergyUnit"},
	{name: "EnergyRate", family: "PowerUnit", extended: true},
	{name: "Force", family: "ForceUnit"},
	{name: "Frequency", family: "FrequencyUnit"},
	{name: "Humidity", family: "DensityUnit"},
	{name: "Illuminance", family: "IlluminanceUnit"},
	{name: "Inductance", family: "InductanceUnit"},
	{name: "IonizingRadiationDose", family: "IonizingRadiationDoseUnit", extended: true},
	{name: "Irradiance", family: "IrradianceUnit", extended: true},
	{name: "Latitude", family: "AngleUnit"},
	{name: "Length", family: "LengthUnit"},
	{name: "Longitude", family: "AngleUnit"},
	{name: "Luminance", family: "LuminanceUnit"},
	{name: "Luminosity", family: "PowerUnit"},
	{name: "LuminousFlux", family: "LuminousFluxUnit"},
	{name: "LuminousIntensity", family: "LuminousIntensityUnit"},
	{name: "MagneticFlux", family: "MagneticFluxUnit"},
	{name: "MagneticInduction", family: "MagneticInductionUnit"},
	{name: "Mass", family: "MassUnit"},
	{name: "MassFlowRate", family: "MassFlowRateUnit"},
	{name: "Power", family: "PowerUnit"},
	{name: "Pressure", family: "PressureUnit"},
	{name: "Radioactivity", family: "RadioactivityUnit", extended: true},
	{name: "ReactiveEnergy", family: "ReactiveEnergyUnit", extended: true},
	{name: "ReactivePower", family: "ReactivePowerUnit", extended: true},
	{name: "RelativeDensity", family: "Unitless", extended: true},
	{name: "RelativeHumidity", family: "Unitless"},
	{name: "Resistance", family: "ResistanceUnit"},
	{name: "SoundPressure", family: "SoundPressureUnit"},
	{name: "Temperature", family: "TemperatureUnit"},
	{name: "Thrust", family: "ForceUnit"},
	{name: "TimeSpan", family: "TimeUnit"},
	{name: "Torque", family: "TorqueUnit"},
	{name: "Velocity", family: "VelocityUnit"},
	{name: "Voltage", family: "VoltageUnit"},
	{name: "Volume", family: "VolumeUnit"},
	{name: "VolumeFlowRate", family: "VolumeFlowRateUnit"},
}

// family is the units of one dimension: those of DTDL v2, and those that the quantitativeTypes extension adds.
type family struct{ units, added string }

var families = map[string]family{
	"AccelerationUnit":          {units: "centimetrePerSecondSquared gForce metrePerSecondSquared"},
	"AngleUnit":                 {units: "degreeOfArc minuteOfArc radian secondOfArc turn"},
	"AngularAccelerationUnit":   {units: "radianPerSecondSquared"},
	"AngularVelocityUnit":       {units: "degreePerSecond radianPerSecond revolutionPerMinute revolutionPerSecond"},
	"ApparentEnergyUnit":        {added: "gigavoltAmpereHour kilovoltAmpereHour megavoltAmpereHour voltAmpereHour"},
	"ApparentPowerUnit":         {added: "gigavoltAmpere kilovoltAmpere megavoltAmpere millivoltAmpere voltAmpere"},
	"AreaUnit":                  {units: "acre hectare squareCentimetre squareFoot squareInch squareKilometre squareMetre squareMillimetre"},
	"CapacitanceUnit":           {units: "farad microfarad millifarad nanofarad picofarad"},
	"ChargeUnit":                {units: "coulomb", added: "ampereHour milliampereHour"},
	"CurrentUnit":               {units: "ampere microampere milliampere", added: "kiloampere"},
	"DataRateUnit":              {units: "bitPerSecond bytePerSecond exbibitPerSecond exbibytePerSecond gibibitPerSecond gibibytePerSecond kibibitPerSecond kibibytePerSecond mebibitPerSecond mebibytePerSecond tebibitPerSecond tebibytePerSecond yobibitPerSecond yobibytePerSecond zebibitPerSecond zebibytePerSecond"},
	"DataSizeUnit":              {units: "bit byte exbibit exbibyte gibibit gibibyte kibibit kibibyte mebibit mebibyte tebibit tebibyte yobibit yobibyte zebibit zebibyte"},
	"DensityUnit":               {units: "gramPerCubicMetre kilogramPerCubicMetre", added: "microgramPerCubicMetre milligramPerCubicMetre"},
	"EnergyUnit":                {units: "electronvolt gigajoule joule kilojoule kilowattHour megaelectronvolt megajoule", added: "britishThermalUnit gigawattHour kiloBritishThermalUnit megawattHour milliwattHour terawattHour wattHour"},
	"ForceUnit":                 {units: "newton ounce pound ton"},
	"FrequencyUnit":             {units: "gigahertz hertz kilohertz megahertz", added: "millihertz"},
	"IlluminanceUnit":           {units: "footcandle lux"},
	"InductanceUnit":            {units: "henry microhenry millihenry"},
	"IonizingRadiationDoseUnit": {added: "gray microgray microsievert milligray millisievert sievert"},
	"IrradianceUnit":            {added: "wattPerSquareMetre"},
	"LengthUnit":                {units: "astronomicalUnit centimetre foot inch kilometre metre micrometre mile millimetre nanometre nauticalMile"},
	"LuminanceUnit":             {units: "candelaPerSquareMetre"},
	"LuminousFluxUnit":          {units: "lumen"},
	"LuminousIntensityUnit":     {units: "candela"},
	"MagneticFluxUnit":          {units: "maxwell weber"},
	"MagneticInductionUnit":     {units: "tesla", added: "gauss"},
	"MassFlowRateUnit":          {units: "gramPerHour gramPerSecond kilogramPerHour kilogramPerSecond", added: "massPoundPerHour"},
	"MassUnit":                  {units: "gram kilogram microgram milligram slug tonne", added: "massPound"},
	"PowerUnit":                 {units: "gigawatt horsepower kilowatt kilowattHourPerYear megawatt microwatt milliwatt watt", added: "britishThermalUnitPerHour gigajoulePerHour joulePerHour joulePerSecond kiloBritishThermalUnitPerHour kilojoulePerHour kilojoulePerSecond megajoulePerHour tonOfRefrigeration"},
	"PressureUnit":              {units: "bar inchesOfMercury inchesOfWater kilopascal millibar millimetresOfMercury pascal poundPerSquareInch", added: "decapascal hectopascal"},
	"RadioactivityUnit":         {added: "becquerel gigabecquerel kilobecquerel megabecquerel"},
	"ReactiveEnergyUnit":        {added: "gigavoltAmpereReactiveHour kilovoltAmpereReactiveHour megavoltAmpereReactiveHour voltAmpereReactiveHour"},
	"ReactivePowerUnit":         {added: "gigavoltAmpereReactive kilovoltAmpereReactive megavoltAmpereReactive millivoltAmpereReactive voltAmpereReactive"},
	"ResistanceUnit":            {units: "kiloohm megaohm milliohm ohm"},
	"SoundPressureUnit":         {units: "bel decibel"},
	"TemperatureUnit":           {units: "degreeCelsius degreeFahrenheit kelvin"},
	"TimeUnit":                  {units: "day hour microsecond millisecond minute nanosecond second year"},
	"TorqueUnit":                {units: "newtonMetre"},
	"Unitless":                  {units: "percent unity", added: "partsPerBillion partsPerMillion partsPerQuadrillion partsPerTrillion"},
	"VelocityUnit":              {units: "centimetrePerSecond kilometrePerHour kilometrePerSecond knot metrePerHour metrePerSecond milePerHour milePerSecond"},
	"VoltageUnit":               {units: "kilovolt megavolt microvolt millivolt volt"},
	"VolumeFlowRateUnit":        {units: "litrePerHour litrePerSecond millilitrePerHour millilitrePerSecond", added: "cubicFootPerMinute cubicMetrePerHour cubicMetrePerMinute cubicMetrePerSecond gallonPerHour gallonPerMinute litrePerMinute millilitrePerMinute"},
	"VolumeUnit":                {units: "cubicCentimetre cubicFoot cubicInch cubicMetre fluidOunce gallon litre millilitre"},
}

// unitSet is the units of a family by name.
type unitSet map[string]bool

// unitSets are the families of DTDL v2, and those of the extension.
func unitSets(extended bool) map[string]unitSet {
	sets := map[string]unitSet{}
	for name, f := range families {
		units := f.units
		if extended {
			units += " " + f.added
		}
		set := unitSet{}
		for unit := range strings.FieldsSeq(units) {
			set[unit] = true
		}
		sets[name] = set
	}
	return sets
}
