// Reads a line with a JSON array of interfaces, and answers with a line that says what Microsoft's parser makes of it:
// {"verdict": "valid"}, {"verdict": "missing", "missing": [DTMI…]}, {"verdict": "invalid", "rules": [name…], "causes": […]} or
// {"verdict": "crash", "causes": [text]}.
import { createInterface } from 'node:readline'
import { getInterop } from '@digicatapult/dtdl-parser'

const { parse, parserVersion } = await getInterop()

function judge(text) {
  try {
    parse(text)
    return { verdict: 'valid' }
  } catch (error) {
    return refusal(error)
  }
}

function refusal(error) {
  let details
  try {
    details = JSON.parse(error.message)
  } catch {
    return { verdict: 'crash', causes: [String(error.message).slice(0, 300)] }
  }
  if (details.ExceptionKind === 'Resolution') {
    return { verdict: 'missing', missing: details.UndefinedIdentifiers }
  }
  const errors = details.Errors.slice(0, 5)
  return {
    verdict: 'invalid',
    rules: errors.map((e) => String(e.ValidationID).split(':').pop()),
    causes: errors.map((e) => e.Cause),
  }
}

console.log(JSON.stringify({ version: parserVersion() }))
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(JSON.stringify(judge(line)))
}
